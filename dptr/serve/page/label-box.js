// A word where it stands: its outline over a part of the photograph. Corners and the whole box can be dragged.

const SVG = "http://www.w3.org/2000/svg";
const RADIUS = 7; // of a corner, in pixels of the screen

const draw = (tag, parent) => parent.appendChild(document.createElementNS(SVG, tag));

// stage: an element; changed(outline): called when a drag ends
export function makeBox(stage, changed) {
  let shown = null; // { frame: [left, top, right, bottom], outline: [[x, y], ...] } in pixels of the photograph
  let sheet = null;
  let held = null; // { corner, from: [x, y], outline } while something is dragged

  const size = () => [shown.frame[2] - shown.frame[0], shown.frame[3] - shown.frame[1]];

  function show(frame, outline, url) {
    shown = { frame, outline };
    sheet = document.createElement("div");
    const image = document.createElement("img");
    image.alt = "";
    image.src = url;
    image.draggable = false;
    sheet.append(image);
    const layer = draw("svg", sheet);
    layer.setAttribute("viewBox", `${frame[0]} ${frame[1]} ${size()[0]} ${size()[1]}`);
    draw("polygon", layer);
    for (let corner = 0; corner < outline.length; corner += 1) draw("circle", layer).dataset.corner = corner;
    stage.replaceChildren(sheet);
    resize();
  }

  function clear() {
    shown = null;
    stage.replaceChildren();
  }

  function resize() {
    if (!shown || !stage.clientWidth) return;
    const [wide, high] = size();
    const scale = Math.min(stage.clientWidth / wide, stage.clientHeight / high);
    sheet.style.width = `${wide * scale}px`;
    sheet.style.height = `${high * scale}px`;
    for (const circle of sheet.querySelectorAll("circle")) circle.setAttribute("r", RADIUS / scale);
    place(shown.outline);
  }

  function place(outline) {
    sheet.querySelector("polygon").setAttribute("points", outline.map((point) => point.join(",")).join(" "));
    sheet.querySelectorAll("circle").forEach((circle, index) => {
      circle.setAttribute("cx", outline[index][0]);
      circle.setAttribute("cy", outline[index][1]);
    });
  }

  function locate(event) {
    const box = sheet.getBoundingClientRect();
    const [wide, high] = size();
    return [shown.frame[0] + ((event.clientX - box.left) / box.width) * wide, shown.frame[1] + ((event.clientY - box.top) / box.height) * high];
  }

  function moved(event) {
    const [x, y] = locate(event);
    const [dx, dy] = [x - held.from[0], y - held.from[1]];
    return held.outline.map(([a, b], index) => (held.corner === null || held.corner === index ? [a + dx, b + dy] : [a, b]));
  }

  stage.addEventListener("pointerdown", (event) => {
    const target = event.target.closest("circle, polygon");
    if (!shown || !target || event.button) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    held = { corner: target.dataset.corner === undefined ? null : Number(target.dataset.corner), from: locate(event), outline: shown.outline };
    stage.classList.add("moving");
  });
  stage.addEventListener("pointermove", (event) => held && place(moved(event)));
  stage.addEventListener("pointerup", (event) => {
    if (!held) return;
    const outline = moved(event).map((point) => point.map((value) => Math.round(value * 10) / 10));
    const same = outline.every((point, index) => point.every((value, axis) => Math.abs(value - held.outline[index][axis]) < 0.2));
    held = null;
    stage.classList.remove("moving");
    if (same) return place(shown.outline);
    shown.outline = outline;
    changed(outline);
  });
  stage.addEventListener("pointercancel", () => {
    if (held) place(shown.outline);
    held = null;
    stage.classList.remove("moving");
  });
  new ResizeObserver(resize).observe(stage);
  return { show, clear };
}
