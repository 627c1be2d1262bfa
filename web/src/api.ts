// The HTTP interface of `nestling serve`, as far as this page uses it.

export type Mode = "dense" | "lexical" | "hybrid";

export interface Model {
  name: string;
  dim: number;
  nesting?: number[];
  max_length?: number;
  precision?: string;
  languages?: string | string[];
}

export interface QueryEncoder {
  name: string;
  imitates: string;
  dim: number;
}

export interface Status {
  version: string;
  models: Model[];
  query_encoders: QueryEncoder[];
  read_only: boolean;
  ready: boolean;
  uptime_seconds: number;
}

export interface CollectionInfo {
  name: string;
  documents: number;
  passages: number;
  dim: number;
  metric: string;
  funnel: string;
  encoder: { name: string } | null;
  fields: string[];
  segments: number;
  pending: number;
  removed: number;
  memory: Record<string, number>;
  disk: number;
}

export interface Field {
  name: string;
  type: "string" | "number" | "boolean" | "mixed";
  list?: boolean;
  values?: (string | number | boolean)[];
  min?: number;
  max?: number;
  declared: boolean;
}

export type Metadata = Record<string, unknown>;
export type Where = Record<string, unknown>;

export interface Ranked {
  rank: number;
  score: number;
}

export interface Hit {
  id: string;
  score: number;
  title?: string | null;
  text?: string | null;
  metadata?: Metadata | null;
  passage?: number;
  start?: number | null;
  end?: number | null;
  highlights?: [number, number][];
  document?: string | null;
  dense?: Ranked | null;
  lexical?: Ranked | null;
}

export interface Stage {
  dims: number;
  bits: number;
  rows_seen: number;
  rows_kept: number;
  bytes_read: number;
  microseconds: number;
}

export interface Dropped {
  id: string;
  rank: number;
  stage: number;
  title?: string;
}

export interface FunnelAnswer {
  stages: Stage[];
  recall: number;
  dropped: Dropped[];
  points: { x: number[]; y: number[]; stage: number[]; id: string[]; title: string[] };
  query: { x: number; y: number };
  latency_ms: number;
  cells: number;
}

export interface StoredDocument {
  id: string;
  text: string;
  title?: string | null;
  metadata?: Metadata | null;
}

export interface SearchRequest {
  query: string;
  k: number;
  mode: Mode;
  where?: Where;
  funnel?: string;
  probes?: number;
}

export type Trouble = "offline" | "key" | "forbidden" | "busy" | "starting" | "missing" | "refused" | "failed";

export class ApiError extends Error {
  constructor(
    readonly trouble: Trouble,
    message: string,
    readonly status = 0,
    readonly retryAfter = 0,
  ) {
    super(message);
  }
}

const KEY = "nestling-key";
let kept: string | null = null; // where the browser refuses storage

export function apiKey(): string {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return kept ?? "";
  }
}

// Only for this tab: it is gone when the tab is closed.
export function setApiKey(key: string): void {
  kept = key;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // kept in memory
  }
}

function troubleOf(status: number): Trouble {
  if (status === 401) return "key";
  if (status === 403) return "forbidden";
  if (status === 404) return "missing";
  if (status === 429) return "busy";
  if (status === 503) return "starting";
  return status < 500 ? "refused" : "failed";
}

async function call<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  const key = apiKey();
  if (key) headers["Authorization"] = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
      credentials: "omit",
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("offline", String(error));
  }
  const answer: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const said = (answer as { error?: { message?: unknown } } | null)?.error?.message;
    const message = typeof said === "string" ? said : `HTTP ${response.status}`;
    const wait = Number(response.headers.get("Retry-After") ?? 0) || 0;
    throw new ApiError(troubleOf(response.status), message, response.status, wait);
  }
  if (answer === null) throw new ApiError("failed", `HTTP ${response.status}`, response.status);
  return answer as T;
}

const collection = (name: string): string => `./collections/${encodeURIComponent(name)}`;

export async function status(signal?: AbortSignal): Promise<Status> {
  return call<Status>("./status", undefined, signal);
}

export async function collections(signal?: AbortSignal): Promise<CollectionInfo[]> {
  return (await call<{ collections: CollectionInfo[] }>("./collections", undefined, signal)).collections;
}

export async function fields(name: string, signal?: AbortSignal): Promise<Field[]> {
  return (await call<{ fields: Field[] }>(`${collection(name)}/fields`, undefined, signal)).fields;
}

export async function search(name: string, request: SearchRequest, signal?: AbortSignal): Promise<Hit[]> {
  const include = ["text", "metadata", "highlight"];
  const answer = await call<{ results: { hits: Hit[] }[] }>(
    `${collection(name)}/search`,
    { ...request, include },
    signal,
  );
  return answer.results[0]?.hits ?? [];
}

export async function funnel(
  name: string,
  request: Omit<SearchRequest, "mode">,
  points: number,
  signal?: AbortSignal,
): Promise<FunnelAnswer> {
  return call<FunnelAnswer>(`${collection(name)}/funnel`, { ...request, points }, signal);
}

export async function documents(
  name: string,
  limit: number,
  after: string | null,
  where: Where | undefined,
  signal?: AbortSignal,
): Promise<{ documents: StoredDocument[]; next: string | null }> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (after !== null) query.set("after", after);
  if (where !== undefined) query.set("where", JSON.stringify(where));
  return call(`${collection(name)}/documents?${query}`, undefined, signal);
}

export async function documentOf(name: string, id: string, signal?: AbortSignal): Promise<StoredDocument> {
  return call(`${collection(name)}/documents/${encodeURIComponent(id)}`, undefined, signal);
}
