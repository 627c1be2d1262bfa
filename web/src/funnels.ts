// Funnels in their string form, "64@4:1000 > 384@16".

export interface FunnelStage {
  dims: number;
  bits: number;
  keep: number | null;
  margin: string;
}

export function parseFunnel(text: string): FunnelStage[] {
  return text.split(">").flatMap((part) => {
    const match = /^\s*(\d+)\s*@\s*(\d+)\s*(?::\s*(\d+)\s*(?:~\s*([\d.]+)\s*)?)?$/.exec(part);
    if (!match) return [];
    const keep = match[3] === undefined ? null : Number(match[3]);
    return [{ dims: Number(match[1]), bits: Number(match[2]), keep, margin: match[4] ?? "" }];
  });
}

// Returns the funnel with all its keeps multiplied; a stage never keeps more than the one before.
export function scaledFunnel(text: string, factor: number, k: number): string {
  let most = Infinity;
  return parseFunnel(text)
    .map((stage) => {
      if (stage.keep === null) return `${stage.dims}@${stage.bits}`;
      const keep = Math.max(Math.min(Math.round(stage.keep * factor), most), Math.min(k, most), 1);
      most = keep;
      return `${stage.dims}@${stage.bits}:${keep}${stage.margin ? `~${stage.margin}` : ""}`;
    })
    .join(" > ");
}

export const firstKeep = (text: string): number => parseFunnel(text)[0]?.keep ?? 0;
