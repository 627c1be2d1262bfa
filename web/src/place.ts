// What the address bar remembers: "#/search?c=articles&q=bread&mode=hybrid".

import type { Mode, Where } from "./api";

export type View = "search" | "documents" | "collections" | "health";
export const VIEWS: readonly View[] = ["search", "documents", "collections", "health"];

export interface Place {
  view: View;
  collection: string;
  query: string;
  mode: Mode;
  k: number;
  where: Where;
}

const MODES: readonly Mode[] = ["dense", "lexical", "hybrid"];
export const COUNTS: readonly number[] = [5, 10, 20, 50, 100];

function objectOf(text: string | null): Where {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Where) : {};
  } catch {
    return {};
  }
}

export function readPlace(): Place {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const values = new URLSearchParams(query);
  const mode = values.get("mode") as Mode | null;
  const k = Number(values.get("k") ?? 10);
  return {
    view: VIEWS.includes(path as View) ? (path as View) : "search",
    collection: values.get("c") ?? "",
    query: values.get("q") ?? "",
    mode: mode !== null && MODES.includes(mode) ? mode : "dense",
    k: COUNTS.includes(k) ? k : 10,
    where: objectOf(values.get("where")),
  };
}

export function hashOf(place: Place): string {
  const values = new URLSearchParams();
  if (place.collection) values.set("c", place.collection);
  if (place.view === "search") {
    if (place.query) values.set("q", place.query);
    if (place.mode !== "dense") values.set("mode", place.mode);
    if (place.k !== 10) values.set("k", String(place.k));
  }
  if (Object.keys(place.where).length) values.set("where", JSON.stringify(place.where));
  const query = values.toString();
  return `#/${place.view}${query ? `?${query}` : ""}`;
}
