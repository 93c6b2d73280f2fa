// What the page asks the server. Paths are relative, so that it also works below a path of a proxy.

const TOKEN = "dptr-token";

export class Refused extends Error {
  constructor(status, message, wait, told = {}) {
    super(message);
    this.status = status;
    this.wait = wait; // seconds after which it is worth another try
    this.told = told; // all that the server said
  }
}

export function keepToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

// body: a form, or an object that is sent as JSON
export async function ask(path, body) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let answer;
  try {
    // what is small is sent to its end even where the page is closed meanwhile
    const keepalive = typeof body === "string" && body.length < 50_000;
    answer = await fetch(path, body ? { method: "POST", body, headers, keepalive } : { headers });
  } catch {
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, told.error || `The server answers ${answer.status}.`, Number(answer.headers.get("Retry-After")), told);
  }
  return answer;
}

export async function loadModels() {
  return (await ask("v1/models")).json();
}

// files: of the page; fields: of /v1/ocr. Waits and tries again while the server is busy.
export async function ocr(files, fields) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name || "pasted.png");
  for (const [key, value] of Object.entries(fields)) if (value !== "") form.append(key, value);
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask("v1/ocr", form);
    } catch (error) {
      if (error.status !== 503 || tries === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.wait || 1)));
    }
  }
}
