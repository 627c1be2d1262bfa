// Text with highlights. The server counts Unicode code points, JavaScript counts UTF-16 units.

export interface Piece {
  text: string;
  marked: boolean;
}

// Returns where each code point of a text begins, in UTF-16 units, and its end.
export function unitOffsets(text: string): number[] {
  const offsets = [0];
  let at = 0;
  for (const character of text) {
    at += character.length;
    offsets.push(at);
  }
  return offsets;
}

// Cuts a text into marked and plain pieces; spans are in code points.
export function pieces(text: string, spans: readonly (readonly [number, number])[]): Piece[] {
  if (spans.length === 0) return [{ text, marked: false }];
  const offsets = unitOffsets(text);
  const unit = (point: number): number => offsets[Math.max(0, Math.min(point, offsets.length - 1))] ?? 0;
  const found: Piece[] = [];
  let at = 0;
  for (const [start, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    const from = Math.max(unit(start), at);
    const to = unit(end);
    if (to <= from) continue;
    if (from > at) found.push({ text: text.slice(at, from), marked: false });
    found.push({ text: text.slice(from, to), marked: true });
    at = to;
  }
  if (at < text.length) found.push({ text: text.slice(at), marked: false });
  return found;
}

// Shortens a long text at a space, by code points.
export function shortened(text: string, most: number): string {
  const points = [...text];
  if (points.length <= most) return text;
  const cut = points.slice(0, most).join("");
  const space = cut.lastIndexOf(" ");
  return `${cut.slice(0, space > cut.length / 2 ? space : undefined).trimEnd()}…`;
}
