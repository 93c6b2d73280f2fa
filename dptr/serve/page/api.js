// Requests to the server. Paths are relative, so that the page also works behind a proxy that adds a path prefix.

const TOKEN = "dptr-token";

export class RequestError extends Error {
  constructor(status, message, wait, body = {}) {
    super(message);
    this.status = status;
    this.wait = wait; // seconds, from Retry-After; 0 or undefined without it
    this.body = body; // the JSON body of the response
  }
}

export function keepToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

// Sends GET, or POST with a body: a form, or an object that is sent as JSON. Returns the response; throws RequestError.
export async function request(path, body) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response;
  try {
    // With keepalive, the browser sends a small body completely even if the page is closed meanwhile.
    const keepalive = typeof body === "string" && body.length < 50_000;
    response = await fetch(path, body ? { method: "POST", body, headers, keepalive } : { headers });
  } catch {
    throw new RequestError(0, "The server does not answer. Is it still running?");
  }
  if (!response.ok) {
    const content = await response.json().catch(() => ({}));
    throw new RequestError(response.status, content.error || `The server answers ${response.status}.`, Number(response.headers.get("Retry-After")), content);
  }
  return response;
}

export async function loadModels() {
  return (await request("v1/models")).json();
}

// Posts files to /v1/ocr with its fields. While the server is busy, waits and tries again, 20 times at most.
export async function ocr(files, fields) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name || "pasted.png");
  for (const [key, value] of Object.entries(fields)) if (value !== "") form.append(key, value);
  for (let tries = 0; ; tries += 1) {
    try {
      return await request("v1/ocr", form);
    } catch (error) {
      if (error.status !== 503 || tries === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.wait || 1)));
    }
  }
}
