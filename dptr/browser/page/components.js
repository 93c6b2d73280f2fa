// Connected components of a map, and the smallest rectangles around them (dptr/photo/components.py). Points are [x, y].

// The components of values above a threshold (8-connected), each as its horizontal runs: [[{ row, first, after }, ...],
// ...]. first: column of the first value; after: column after the last one
export function regions(map, width, height, threshold) {
  const runs = [];
  const parent = [];
  const root = (node) => {
    while (parent[node] !== node) node = parent[node] = parent[parent[node]];
    return node;
  };
  let above = [0, 0]; // the runs of the previous row: the index of the first, and the index after the last
  for (let row = 0; row < height; row += 1) {
    const begin = runs.length;
    let from = above[0];
    for (let x = 0, at = row * width; x < width; x += 1) {
      if (!(map[at + x] > threshold)) continue;
      const first = x;
      while (x < width && map[at + x] > threshold) x += 1;
      const node = runs.push({ row, first, after: x }) - 1;
      parent.push(node);
      while (from < above[1] && runs[from].after < first) from += 1;
      for (let other = from; other < above[1] && runs[other].first <= x; other += 1) {
        const [one, two] = [root(node), root(other)];
        parent[Math.max(one, two)] = Math.min(one, two);
      }
    }
    above = [begin, runs.length];
  }
  const components = new Map();
  runs.forEach((run, index) => {
    const node = root(index);
    if (!components.has(node)) components.set(node, []);
    components.get(node).push(run);
  });
  return [...components.values()];
}

// The corners of the convex hull, in order: Andrew's monotone chain algorithm.
function convexHull(points) {
  const sorted = [...points].sort((one, two) => one[0] - two[0] || one[1] - two[1]);
  const ordered = sorted.filter(([x, y], at) => !at || x !== sorted[at - 1][0] || y !== sorted[at - 1][1]);
  if (ordered.length < 3) return ordered;
  const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
  return [ordered, [...ordered].reverse()].flatMap((sequence) => {
    const chain = [];
    for (const point of sequence) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  });
}

// The rectangle of the smallest area around all points: its corners clockwise, starting at the smallest x + y.
export function smallestRectangle(points) {
  const hull = convexHull(points);
  let best = { area: Infinity };
  hull.forEach((point, index) => {
    const next = hull[(index + 1) % hull.length];
    const length = Math.hypot(next[0] - point[0], next[1] - point[1]);
    if (!length) return;
    const [ux, uy] = [(next[0] - point[0]) / length, (next[1] - point[1]) / length];
    const along = hull.map(([x, y]) => x * ux + y * uy);
    const across = hull.map(([x, y]) => -x * uy + y * ux);
    const [left, right, top, bottom] = [Math.min(...along), Math.max(...along), Math.min(...across), Math.max(...across)];
    const area = (right - left) * (bottom - top);
    if (area < best.area) best = { area, ux, uy, sides: [[left, top], [right, top], [right, bottom], [left, bottom]] };
  });
  const corners = best.sides.map(([u, v]) => [u * best.ux - v * best.uy, u * best.uy + v * best.ux]);
  const sums = corners.map(([x, y]) => x + y);
  return roll(corners, -sums.indexOf(Math.min(...sums)));
}

// The points shifted cyclically, as by numpy.roll.
export function roll(points, by) {
  return points.map((_, index) => points[(index - by + 2 * points.length) % points.length]);
}
