// The map of the survivors: principal axes of the first stage's prefix, coloured by what dropped them.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { FunnelAnswer } from "./api";
import { usePage } from "./context";
import { stageColours } from "./stages";

type Points = FunnelAnswer["points"];
type View = InstanceType<typeof import("./atlas").EmbeddingView>;
type Props = ConstructorParameters<typeof import("./atlas").EmbeddingView>[1];
type Viewport = { x: number; y: number; scale: number };

const REACH = 14; // pixels around a point that count as on it
const HEIGHT = 300;

export function SurvivorMap({ answer, collection }: { answer: FunnelAnswer; collection: string }) {
  const { locale, dark, openDocument } = usePage();
  const { points, query, stages } = answer;
  const frame = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const colours = useMemo(() => stageColours(stages.length, dark), [stages.length, dark]);
  const counts = useMemo(() => countsOf(points.stage, stages.length), [points, stages.length]);

  useEffect(() => {
    const node = frame.current;
    if (!node) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(node);
    return () => observer.disconnect();
  }, []);

  const label = locale.t("mapLabel", locale.count("points", points.x.length));
  return (
    <>
      <div class={dark ? "map dark" : "map"} dir="ltr" ref={frame} role="img" aria-label={label}>
        {width > 0 && (
          <Canvas
            answer={answer}
            width={width}
            colours={colours}
            dark={dark}
            onOpen={(id) => openDocument(collection, id)}
          />
        )}
      </div>
      <ul class="legend">
        {counts.map((count, stage) =>
          count === 0 ? null : (
            <li key={stage}>
              <i class="dot" style={{ background: colours[stage] ?? "" }} aria-hidden="true" />
              {stage === stages.length ? locale.t("hit") : locale.t("droppedBy", locale.number(stage + 1))}{" "}
              <span class="dim">{locale.number(count)}</span>
            </li>
          ),
        )}
        {query && (
          <li>
            <svg class="cross" viewBox="0 0 12 12" aria-hidden="true">
              <path d="M6 1v10M1 6h10" />
            </svg>
            {locale.t("query")}
          </li>
        )}
      </ul>
    </>
  );
}

function countsOf(stage: number[], stages: number): number[] {
  const counts = new Array<number>(stages + 1).fill(0);
  for (const place of stage) counts[place] = (counts[place] ?? 0) + 1;
  return counts;
}

// The part of the plane that shows all points and the query.
function fitted(points: Points, query: FunnelAnswer["query"], width: number): Viewport {
  const xs = [...points.x, query.x];
  const ys = [...points.y, query.y];
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [bottom, top] = [Math.min(...ys), Math.max(...ys)];
  const side = Math.max(width, HEIGHT);
  const across = (2 * (width / side)) / Math.max(right - left, 1e-6);
  const up = (2 * (HEIGHT / side)) / Math.max(top - bottom, 1e-6);
  return { x: (left + right) / 2, y: (bottom + top) / 2, scale: 0.88 * Math.min(across, up) };
}

interface CanvasProps {
  answer: FunnelAnswer;
  width: number;
  colours: string[];
  dark: boolean;
  onOpen: (id: string) => void;
}

// The view draws with WebGPU, or else with WebGL 2.
function hasGraphics(): boolean {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return context !== null;
}

function Canvas(props: CanvasProps) {
  const { answer, width, colours, dark, onOpen } = props;
  const target = useRef<HTMLDivElement>(null);
  const view = useRef<View | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [plain, setPlain] = useState(false);

  useEffect(() => {
    let gone = false;
    const node = target.current;
    if (!hasGraphics()) {
      setPlain(true);
      return;
    }
    import("./atlas")
      .then(({ EmbeddingView }) => {
        if (gone || !node) return;
        view.current = new EmbeddingView(node, propsOf(latest.current, view));
      })
      .catch(() => setPlain(true));
    return () => {
      gone = true;
      view.current?.destroy();
      view.current = null;
    };
  }, []);

  useEffect(() => {
    view.current?.update(propsOf(props, view));
  }, [answer, width, colours, dark]);

  if (plain) return <Scatter answer={answer} width={width} colours={colours} dark={dark} onOpen={onOpen} />;
  return <div ref={target} style={{ height: `${HEIGHT}px` }} />;
}

function propsOf({ answer, width, colours, dark, onOpen }: CanvasProps, view: { current: View | null }): Props {
  const { points, query, stages } = answer;
  const x = Float32Array.from(points.x);
  const y = Float32Array.from(points.y);
  return {
    data: { x, y, category: Uint8Array.from(points.stage) },
    categoryColors: colours,
    width,
    height: HEIGHT,
    pixelRatio: Math.min(2, devicePixelRatio || 1),
    config: { colorScheme: dark ? "dark" : "light", mode: "points", pointSize: 3.5, autoLabelEnabled: false },
    theme: { statusBar: false, brandingLink: null, fontFamily: "system-ui, sans-serif" },
    tooltip: null,
    selection: null,
    viewportState: fitted(points, query, width),
    onViewportState: (viewportState) => view.current?.update({ viewportState }),
    querySelection: async (atX, atY, unit) => nearest(points, atX, atY, unit * REACH),
    onTooltip: (tooltip) => view.current?.update({ tooltip }),
    onSelection: (selection) => {
      const place = selection?.[0]?.identifier;
      const id = typeof place === "number" ? points.id[place] : undefined;
      if (id !== undefined) onOpen(id);
      view.current?.update({ selection: null });
    },
    customTooltip: { class: Tooltip, props: {} },
    customOverlay: { class: Overlay, props: { points, query, hits: stages.length } },
  };
}

function nearest(points: Points, x: number, y: number, reach: number) {
  let found = -1;
  let least = reach * reach;
  points.x.forEach((at, place) => {
    const distance = (at - x) ** 2 + ((points.y[place] ?? 0) - y) ** 2;
    if (distance < least) {
      least = distance;
      found = place;
    }
  });
  if (found < 0) return null;
  return {
    x: points.x[found] ?? 0,
    y: points.y[found] ?? 0,
    category: points.stage[found] ?? 0,
    text: points.title[found] || (points.id[found] ?? ""),
    identifier: found,
  };
}

class Tooltip {
  private readonly box = document.createElement("div");

  constructor(target: HTMLDivElement, props: { tooltip: { text?: string } }) {
    this.box.className = "tip";
    this.box.dir = "auto";
    target.append(this.box);
    this.update(props);
  }

  update(props: { tooltip: { text?: string } }): void {
    this.box.textContent = props.tooltip.text ?? "";
  }

  destroy(): void {
    this.box.remove();
  }
}

interface OverlayProps {
  proxy: { location: (x: number, y: number) => { x: number; y: number }; width: number; height: number };
  points: Points;
  query: FunnelAnswer["query"];
  hits: number;
}

const SVG = "http://www.w3.org/2000/svg";

// The hits, over the others, those that the first stage lost, and a cross where the query is.
class Overlay {
  private readonly svg = document.createElementNS(SVG, "svg");

  constructor(target: HTMLDivElement, props: OverlayProps) {
    this.svg.setAttribute("class", "overlay");
    target.append(this.svg);
    this.update(props);
  }

  update({ proxy, points, query, hits }: OverlayProps): void {
    this.svg.setAttribute("width", String(proxy.width));
    this.svg.setAttribute("height", String(proxy.height));
    const marks: SVGElement[] = [];
    points.stage.forEach((stage, place) => {
      if (stage !== hits && stage !== 0) return;
      const at = proxy.location(points.x[place] ?? 0, points.y[place] ?? 0);
      marks.push(element("circle", { class: stage === hits ? "ring" : "ring lost", cx: at.x, cy: at.y, r: 5 }));
    });
    const at = proxy.location(query.x, query.y);
    marks.push(element("path", { class: "cross", d: crossAt(at.x, at.y) }));
    this.svg.replaceChildren(...marks);
  }

  destroy(): void {
    this.svg.remove();
  }
}

function element(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

// The same picture without a graphics interface.
function Scatter({ answer, width, colours, onOpen }: CanvasProps) {
  const { points, query, stages } = answer;
  const hits = stages.length;
  const port = fitted(points, query, width);
  const side = Math.max(width, HEIGHT);
  const px = (x: number): number => width / 2 + ((x - port.x) * port.scale * side) / 2;
  const py = (y: number): number => HEIGHT / 2 - ((y - port.y) * port.scale * side) / 2;
  // Hits are drawn over the others.
  const order = points.x.map((_, place) => place).sort((a, b) => (points.stage[a] ?? 0) - (points.stage[b] ?? 0));
  return (
    <svg width={width} height={HEIGHT} class="scatter">
      {order.map((place) => {
        const stage = points.stage[place] ?? 0;
        const marked = stage === hits || stage === 0;
        return (
          <circle
            key={place}
            class={marked ? "marked" : ""}
            cx={px(points.x[place] ?? 0)}
            cy={py(points.y[place] ?? 0)}
            r={marked ? 4.5 : 3}
            fill={colours[stage] ?? ""}
            onClick={() => onOpen(points.id[place] ?? "")}
          >
            <title>{points.title[place] || points.id[place]}</title>
          </circle>
        );
      })}
      <path class="cross" d={crossAt(px(query.x), py(query.y))} />
    </svg>
  );
}

const crossAt = (x: number, y: number): string => `M${x} ${y - 8}v16M${x - 8} ${y}h16`;
