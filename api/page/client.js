// The API for this page. The session's token is kept for this tab.
const KEY = "cxb-token";

export class ApiError extends Error {
  constructor(status, body) {
    const wrong = (body?.fields ?? []).map(({ path, message }) => `${path} ${message}`).join(", ");
    super(wrong || (body?.message ?? `The API answers ${status}.`));
    this.status = status;
    this.code = body?.error;
  }
}

export async function api(path, body) {
  const headers = {};
  const token = sessionStorage.getItem(KEY);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/api/v1${path}`, {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store",
  });
  const value = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, value);
  return value;
}

async function session(path, body) {
  sessionStorage.removeItem(KEY);
  sessionStorage.setItem(KEY, (await api(path, body)).access_token);
}

export const hasSession = () => sessionStorage.getItem(KEY) !== null;

export const signIn = (email, password) => session("/auth/login", { email, password });

// Makes the first administrator: { token, email, name, password }.
export const setUp = (person) => session("/auth/bootstrap", person);

export const needsSetup = async () => (await api("/auth/bootstrap")).needed;

// The token of the address's fragment, which never leaves the browser; taken out of the address.
export function setupToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

// Free and all workers of this host; null when the front does not say.
export async function fleet() {
  try {
    const answer = await fetch("/health/fleet", { cache: "no-store" });
    const { fleet_available: free, fleet_max: all } = await answer.json();
    return Number.isInteger(free) && Number.isInteger(all) ? { free, all } : null;
  } catch {
    return null;
  }
}
