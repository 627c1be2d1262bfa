// Filters from the fields of the documents' metadata.

import type { TargetedEvent } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Field, Where } from "./api";
import { usePage } from "./context";

type Condition = { equal?: string | number | boolean; from?: number; to?: number };

// Reads the conditions that this form can show; others in a hand-written address are left out.
function conditionOf(value: unknown): Condition {
  if (value === null || typeof value !== "object") return { equal: value as string | number | boolean };
  const operators = value as Record<string, unknown>;
  const found: Condition = {};
  if (operators["$contains"] !== undefined) found.equal = operators["$contains"] as string;
  if (typeof operators["$gte"] === "number") found.from = operators["$gte"];
  if (typeof operators["$lte"] === "number") found.to = operators["$lte"];
  return found;
}

function valueOf(field: Field, condition: Condition): unknown {
  if (condition.equal !== undefined) return field.list ? { $contains: condition.equal } : condition.equal;
  const operators: Record<string, number> = {};
  if (condition.from !== undefined) operators["$gte"] = condition.from;
  if (condition.to !== undefined) operators["$lte"] = condition.to;
  return Object.keys(operators).length ? operators : undefined;
}

export function Filters({
  fields,
  where,
  onChange,
}: {
  fields: Field[];
  where: Where;
  onChange: (where: Where) => void;
}) {
  const { locale } = usePage();
  const [open, setOpen] = useState<string[]>([]);
  const names = [...new Set([...Object.keys(where), ...open])];
  useEffect(() => setOpen([]), [fields]);
  const known = new Map(fields.map((field) => [field.name, field]));
  const free = fields.filter((field) => !names.includes(field.name));
  if (fields.length === 0 && names.length === 0) return null;

  const set = (name: string, value: unknown): void => {
    const next = { ...where };
    if (value === undefined) delete next[name];
    else next[name] = value;
    setOpen((before) => [...new Set([...before, name])]);
    onChange(next);
  };
  const remove = (name: string): void => {
    const next = { ...where };
    delete next[name];
    setOpen((before) => before.filter((other) => other !== name));
    onChange(next);
  };

  return (
    <div class="filters" role="group" aria-label={locale.t("filters")}>
      {names.map((name) => {
        const field: Field = known.get(name) ?? { name, type: "mixed", declared: false };
        return (
          <div class="filter" key={name}>
            <span class="name" dir="auto">
              {name}
            </span>
            <Value field={field} condition={conditionOf(where[name] ?? {})} onChange={(value) => set(name, value)} />
            <button
              type="button"
              class="icon small"
              aria-label={locale.t("remove", name)}
              title={locale.t("remove", name)}
              onClick={() => remove(name)}
            >
              <svg viewBox="0 0 20 20" aria-hidden="true">
                <path d="M6 6l8 8M14 6l-8 8" />
              </svg>
            </button>
          </div>
        );
      })}
      {free.length > 0 && (
        <label class="add">
          <span class="hidden">{locale.t("addFilter")}</span>
          <select
            value=""
            onChange={(event) => {
              const name = event.currentTarget.value;
              event.currentTarget.value = "";
              if (name) setOpen((before) => [...before, name]);
            }}
          >
            <option value="">+ {locale.t("addFilter")}</option>
            {free.map((field) => (
              <option key={field.name} value={field.name}>
                {field.name}
              </option>
            ))}
          </select>
        </label>
      )}
    </div>
  );
}

function Value({
  field,
  condition,
  onChange,
}: {
  field: Field;
  condition: Condition;
  onChange: (value: unknown) => void;
}) {
  const { locale } = usePage();
  const label = locale.t("valueOf", field.name);
  if (field.type === "number" && !field.list) {
    const bound = (side: "from" | "to") => (
      <Typed
        type="number"
        placeholder={String((side === "from" ? field.min : field.max) ?? locale.t(side))}
        label={`${label}: ${locale.t(side)}`}
        value={String(condition[side] ?? "")}
        onCommit={(text) => {
          const next: Condition = { ...condition };
          if (text === "") delete next[side];
          else next[side] = Number(text);
          onChange(valueOf(field, next));
        }}
      />
    );
    return (
      <span class="range" dir="ltr">
        {bound("from")}
        <span aria-hidden="true">–</span>
        {bound("to")}
      </span>
    );
  }
  const values = field.type === "boolean" ? [true, false] : (field.values ?? []);
  if (values.length > 0) {
    return (
      <select
        aria-label={label}
        value={condition.equal === undefined ? "" : String(values.indexOf(condition.equal))}
        onChange={(event) => {
          const place = event.currentTarget.value;
          const equal = place === "" ? undefined : values[Number(place)];
          onChange(equal === undefined ? undefined : valueOf(field, { equal }));
        }}
      >
        <option value="">{locale.t("any")}</option>
        {values.map((value, place) => (
          <option key={place} value={String(place)}>
            {typeof value === "boolean" ? locale.t(value ? "yes" : "no") : String(value)}
          </option>
        ))}
      </select>
    );
  }
  return (
    <Typed
      type="text"
      placeholder=""
      label={label}
      value={condition.equal === undefined ? "" : String(condition.equal)}
      onCommit={(equal) => onChange(equal === "" ? undefined : valueOf(field, { equal }))}
    />
  );
}

// A field whose text counts when it is left; until then it keeps what is typed.
function Typed({
  type,
  placeholder,
  label,
  value,
  onCommit,
}: {
  type: "number" | "text";
  placeholder: string;
  label: string;
  value: string;
  onCommit: (text: string) => void;
}) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const shared = {
    placeholder,
    "aria-label": label,
    value: text,
    onInput: (event: TargetedEvent<HTMLInputElement>) => setText(event.currentTarget.value),
    onChange: (event: TargetedEvent<HTMLInputElement>) => onCommit(event.currentTarget.value),
  };
  return type === "number" ? (
    <input type="number" step="any" inputMode="decimal" {...shared} />
  ) : (
    <input type="text" dir="auto" {...shared} />
  );
}
