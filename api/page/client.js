// The API for this page. The token comes in the address's fragment, which never leaves the browser;
// it is kept for this tab and taken out of the address.
const KEY = "cxb-token";

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname + location.search);
}

export function setToken(token) { sessionStorage.setItem(KEY, token.trim()); }

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message ?? `The API answers ${status}.`);
    this.status = status;
    this.code = body?.error;
  }
}

export async function api(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(`/api/v1${path}`, {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), cache: "no-store",
  });
  const value = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, value);
  return value;
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
