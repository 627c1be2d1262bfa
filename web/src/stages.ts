// One colour for each stage, the same in the funnel, in the legend and on the map.

// Of the passages that the first stage dropped, of the hits, and of the stages between.
const LIGHT = { lost: "#c2410c", hits: "#0f766e", between: ["#94a3b8", "#6f86c9", "#7c5cc4", "#a04fb0", "#b94a86", "#a8684a", "#7d7f3a"] };
const DARK = { lost: "#fb923c", hits: "#5eead4", between: ["#64748b", "#8199e6", "#a78bfa", "#cf8be0", "#f08cbc", "#dba284", "#c3c57a"] };

// Returns the colours of categories 0 to `stages`: dropped by each stage, and the hits.
export function stageColours(stages: number, dark: boolean): string[] {
  const palette = dark ? DARK : LIGHT;
  return Array.from({ length: stages + 1 }, (_, stage) => {
    if (stage === stages) return palette.hits;
    if (stage === 0) return palette.lost;
    return palette.between[(stage - 1) % palette.between.length] ?? palette.lost;
  });
}
