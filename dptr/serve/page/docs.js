// The page with the documentation of the API, made from openapi.json.

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

function table(caption, rows) {
  const body = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row", textContent: name }), ...cells.map((cell) => make("td", { textContent: cell }))));
  const region = make("div", { className: "scroll", tabIndex: 0 }, make("table", {}, make("caption", { className: "unseen", textContent: caption }), ...body));
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", caption);
  return region;
}

function kindOf(schema) {
  if (schema.enum) return schema.enum.join(", ");
  const range = schema.minimum === undefined ? "" : `, ${schema.minimum} to ${schema.maximum}`;
  return (schema.type === "array" ? "list" : schema.type || "") + range;
}

function describe(method, path, route) {
  const parts = [make("h2", {}, make("b", { textContent: method.toUpperCase() }), path), make("p", { className: "soft", textContent: route.summary })];
  const body = route.requestBody?.content["multipart/form-data"].schema.properties;
  if (body) {
    parts.push(table(`Fields of ${path}`, Object.entries(body).map(([name, schema]) => [name, kindOf(schema), schema.description || ""])));
    parts.push(table(`Statuses of ${path}`, Object.entries(route.responses).map(([status, answer]) => [status, answer.description])));
  }
  return make("section", { className: "route" }, ...parts);
}

const { paths } = await (await fetch("openapi.json")).json();
document.getElementById("example").textContent = `curl -F files=@photo.jpg ${new URL("v1/ocr", location.href)}
curl -F files=@scan.pdf -F format=pdf -o searchable.pdf ${new URL("v1/ocr", location.href)}`;
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, route] of Object.entries(methods)) document.getElementById("routes").append(describe(method, path, route));
}
