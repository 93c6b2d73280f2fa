// Boxes over a picture. By mouse, touch, or keyboard, the user changes one box, chooses another, or draws a new one.

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = matchMedia("(pointer: coarse)").matches ? 11 : 7; // radius of a corner's handle, in pixels of the screen
const LEAST = 6; // shortest side of a drawn box, in pixels of the screen
const REST = 700; // milliseconds after the last key press until a changed box is saved
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const draw = (tag, parent) => parent.appendChild(document.createElementNS(SVG, tag));
const round = (outline) => outline.map((point) => point.map((value) => Math.round(value * 10) / 10));
const upright = ([left, top], [right, bottom]) => [[left, top], [right, top], [right, bottom], [left, bottom]];

function bounds(outline) {
  const [xs, ys] = [0, 1].map((axis) => outline.map((point) => point[axis]));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

// stage: a focusable element that shows the picture; onChange(outline): called when the user has changed the box;
// onDraw(outline): called when the user has drawn a new box, null = drawing is off; onChoose(index): called when the
// user clicks another box, -1 = none
export function makeBox(stage, { onChange, onDraw = null, onChoose = () => {} }) {
  let shown = null; // { frame: [left, top, right, bottom], outline: [[x, y], ...] or null, others } in pixels of the photograph
  let sheet = null;
  let layer = null;
  let drag = null; // { kind: "corner" | "box" | "new", corner, from: [x, y], outline, other } while the pointer drags
  let fresh = null; // a new box that the keyboard has begun, before Enter
  let zoom = 1;
  let timer = 0;
  let unsaved = null; // the outline changed by the keyboard, until it is saved
  const fingers = new Map(); // pointer id -> [x, y] on the screen

  const size = () => [shown.frame[2] - shown.frame[0], shown.frame[3] - shown.frame[1]];

  // others: [{ outline, kind }], the other boxes; kind is a CSS class
  function show({ frame, outline, url, others = [] }) {
    forget();
    const same = sheet && stage.contains(sheet) && sheet.dataset.url === url;
    shown = { frame, outline, others };
    if (!same) {
      sheet = document.createElement("div");
      sheet.dataset.url = url;
      sheet.append(Object.assign(document.createElement("img"), { alt: "", src: url, draggable: false }));
      layer = draw("svg", sheet);
      stage.replaceChildren(sheet);
    }
    layer.setAttribute("viewBox", `${frame[0]} ${frame[1]} ${size()[0]} ${size()[1]}`);
    layer.replaceChildren();
    others.forEach((other, index) => {
      const polygon = draw("polygon", layer);
      polygon.setAttribute("class", `other ${other.kind}`);
      polygon.setAttribute("points", other.outline.map((point) => point.join(",")).join(" "));
      polygon.dataset.index = index;
    });
    if (outline) drawBox(outline);
    resize();
  }

  function forget() {
    clearTimeout(timer);
    [unsaved, fresh] = [null, null];
  }

  // Saves the box that the keyboard has changed.
  function flush() {
    clearTimeout(timer);
    const outline = unsaved;
    unsaved = null;
    if (outline && shown) saveOutline(outline);
  }

  // Draws the box that can be changed.
  function drawBox(outline) {
    for (const old of layer.querySelectorAll(".selected, circle")) old.remove();
    draw("polygon", layer).setAttribute("class", "selected");
    for (let corner = 0; corner < outline.length; corner += 1) draw("circle", layer).dataset.corner = corner;
    place(outline);
  }

  function clear() {
    forget();
    [shown, sheet, zoom] = [null, null, 1];
    stage.replaceChildren();
  }

  const scale = () => sheet.getBoundingClientRect().width / size()[0] || 1;

  function resize() {
    if (!shown || !stage.clientWidth) return;
    const [wide, high] = size();
    const fit = zoom * Math.min(stage.clientWidth / wide, stage.clientHeight / high);
    sheet.style.width = `${wide * fit}px`;
    sheet.style.height = `${high * fit}px`;
    const outline = fresh || shown.outline;
    if (outline) place(outline);
  }

  function place(outline) {
    layer.querySelector(".selected").setAttribute("points", outline.map((point) => point.join(",")).join(" "));
    const [left, top, right, bottom] = bounds(outline);
    const radius = Math.min(RADIUS, Math.max(4, (scale() * Math.min(right - left, bottom - top)) / 4)) / scale();
    layer.querySelectorAll("circle").forEach((circle, index) => {
      circle.setAttribute("r", radius);
      circle.setAttribute("cx", outline[index][0]);
      circle.setAttribute("cy", outline[index][1]);
    });
  }

  // Zooms by a factor about a point of the screen, by default the center of the view. 0 = fit the picture to the view.
  function zoomBy(factor, at = null) {
    if (!shown) return;
    const view = stage.getBoundingClientRect();
    const [x, y] = at || [view.left + view.width / 2, view.top + view.height / 2];
    const before = locate({ clientX: x, clientY: y });
    zoom = factor ? Math.min(Math.max(zoom * factor, 1), 12) : 1;
    resize();
    const after = locate({ clientX: x, clientY: y });
    stage.scrollBy((before[0] - after[0]) * scale(), (before[1] - after[1]) * scale());
  }

  function locate(event) {
    const box = sheet.getBoundingClientRect();
    const [wide, high] = size();
    return [shown.frame[0] + ((event.clientX - box.left) / box.width) * wide, shown.frame[1] + ((event.clientY - box.top) / box.height) * high];
  }

  const inside = ([x, y]) => [Math.min(Math.max(x, shown.frame[0]), shown.frame[2]), Math.min(Math.max(y, shown.frame[1]), shown.frame[3])];

  function dragged(event) {
    const at = locate(event);
    if (drag.kind === "new") {
      const [one, other] = [inside(drag.from), inside(at)];
      return upright([Math.min(one[0], other[0]), Math.min(one[1], other[1])], [Math.max(one[0], other[0]), Math.max(one[1], other[1])]);
    }
    const [dx, dy] = [at[0] - drag.from[0], at[1] - drag.from[1]];
    return drag.outline.map(([a, b], index) => (drag.kind === "box" || drag.corner === index ? [a + dx, b + dy] : [a, b]));
  }

  function drop() {
    if (drag?.kind === "new") for (const old of layer.querySelectorAll(".selected, circle")) old.remove();
    if (drag && shown.outline) drawBox(shown.outline);
    drag = null;
    stage.classList.remove("moving");
  }

  function saveOutline(outline) {
    shown.outline = round(outline);
    onChange(shown.outline);
  }

  function saveNew(outline) {
    const [left, top, right, bottom] = bounds(outline);
    if (Math.min(right - left, bottom - top) * scale() < LEAST) return false;
    shown.outline = round(outline);
    onDraw(shown.outline);
    return true;
  }

  stage.addEventListener("pointerdown", (event) => {
    if (!shown || event.button) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size > 1) return drop(); // two fingers pan and zoom
    const target = event.target.closest("circle, polygon.selected");
    if (!target && (!onDraw || !event.target.closest("svg"))) return;
    event.preventDefault();
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    const other = event.target.closest("polygon.other");
    const kind = !target ? "new" : target.dataset.corner === undefined ? "box" : "corner";
    drag = { kind, corner: Number(target?.dataset.corner), from: locate(event), outline: shown.outline, other: other ? Number(other.dataset.index) : -1 };
    stage.classList.add("moving");
  });
  stage.addEventListener("pointermove", (event) => {
    if (fingers.size > 1 && fingers.has(event.pointerId)) {
      const spread = () => {
        const [[a, b], [c, d]] = [...fingers.values()];
        return [Math.hypot(a - c, b - d), (a + c) / 2, (b + d) / 2];
      };
      const [before, x, y] = spread();
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      const [after, u, v] = spread();
      stage.scrollBy(x - u, y - v);
      zoomBy(after / (before || 1), [u, v]);
      return;
    }
    if (!drag) return;
    const outline = dragged(event);
    if (drag.kind === "new" && !layer.querySelector(".selected.new")) {
      drawBox(outline);
      layer.querySelector(".selected").classList.add("new");
    } else place(outline);
  });
  stage.addEventListener("pointerup", (event) => {
    const alone = fingers.size === 1;
    fingers.delete(event.pointerId);
    if (!drag || !alone) return;
    const { kind, outline: before, other } = drag;
    const outline = dragged(event);
    drop();
    if (kind === "new") {
      if (!saveNew(outline)) onChoose(other);
      return;
    }
    const still = outline.every((point, index) => point.every((value, axis) => Math.abs(value - before[index][axis]) < 0.2));
    if (still) return;
    place(outline);
    saveOutline(outline);
  });
  stage.addEventListener("pointercancel", (event) => {
    fingers.delete(event.pointerId);
    drop();
  });
  stage.addEventListener("wheel", (event) => {
    if (!onDraw || !event.ctrlKey) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 300), [event.clientX, event.clientY]);
  }, { passive: false });

  // Arrow keys move the box; with Shift they move its right and lower sides. If drawing is on, N begins a new box,
  // Enter submits it, and Escape discards it.
  stage.addEventListener("keydown", (event) => {
    if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = KEYS[event.key];
    const outline = fresh || shown.outline;
    if (step && outline) {
      const [left, top, right, bottom] = bounds(outline);
      const far = Math.max(1, 4 / scale());
      const grown = [(right - left + far * step[0]) / (right - left), (bottom - top + far * step[1]) / (bottom - top)];
      if (event.shiftKey && Math.min((right - left) * grown[0], (bottom - top) * grown[1]) < 3) return event.preventDefault();
      const next = outline.map(([x, y]) => (event.shiftKey ? [left + (x - left) * grown[0], top + (y - top) * grown[1]] : [x + far * step[0], y + far * step[1]]));
      if (fresh) fresh = next;
      else {
        shown.outline = unsaved = next;
        clearTimeout(timer);
        timer = setTimeout(flush, REST);
      }
      place(next);
    } else if (onDraw && event.key.toLowerCase() === "n") {
      const view = stage.getBoundingClientRect();
      const [x, y] = locate({ clientX: view.left + view.width / 2, clientY: view.top + view.height / 2 });
      const [wide, high] = [60 / scale(), 22 / scale()];
      fresh = upright([x - wide, y - high], [x + wide, y + high]).map(inside);
      drawBox(fresh);
      layer.querySelector(".selected").classList.add("new");
    } else if (onDraw && event.key === "Enter" && fresh) {
      const made = fresh;
      fresh = null;
      saveNew(made.map(inside));
    } else if (fresh && event.key === "Escape") {
      fresh = null;
      for (const old of layer.querySelectorAll(".selected, circle")) old.remove();
      if (shown.outline) drawBox(shown.outline);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  stage.addEventListener("blur", flush);
  for (const kind of ["pointerup", "pointercancel"]) window.addEventListener(kind, (event) => fingers.delete(event.pointerId));
  new ResizeObserver(resize).observe(stage);
  return { show, clear, zoomBy, flush };
}
