// The words of the interface in English and Arabic, and numbers written for each.

export type Language = "en" | "ar";

const english = {
  skip: "Skip to the results",
  search: "Search",
  documents: "Documents",
  collections: "Collections",
  health: "Health",
  views: "Views",
  otherLanguage: "العربية",
  theme: "Theme",
  themeAuto: "As the system",
  themeLight: "Light",
  themeDark: "Dark",
  collection: "Collection",
  placeholder: "Ask a question, or type a few words",
  queryLabel: "Query",
  shortcut: "Press / to search, ↓ and ↑ to move between hits, Enter to open one, Esc to go back",
  mode: "Search by",
  dense: "Meaning",
  lexical: "Words",
  hybrid: "Both",
  hits: "Hits",
  number: "Number of hits",
  addFilter: "Add a filter",
  filters: "Filters",
  any: "any",
  yes: "yes",
  no: "no",
  from: "from",
  to: "to",
  remove: "Remove the filter of {0}",
  valueOf: "Value of {0}",
  close: "Close",
  retry: "Try again",
  loading: "Loading…",
  searching: "Searching…",
  slow: "Still working. The server answers slowly; a model may be loading.",
  offline: "The server cannot be reached",
  offlineHint: "Check that it runs, and that this device is connected. What you see below may be out of date.",
  busy: "The server is busy",
  busyHint: "Trying again in {0} s.",
  starting: "The server is starting or stopping",
  forbidden: "This key may not do that",
  missing: "Not found",
  refused: "The request was refused",
  failed: "The server failed",
  keyTitle: "An API key is required",
  keyHint: "It is kept in this tab only, and forgotten when the tab is closed.",
  keyLabel: "API key",
  keyWrong: "This key is not known to the server.",
  keyUse: "Use this key",
  keyForget: "Forget the key",
  noCollections: "There are no collections yet",
  noCollectionsHint: "Create one on the command line, then reload this page:",
  emptyCollection: "This collection is empty",
  emptyCollectionHint: "Add documents on the command line, or send them to the server:",
  noHits: "Nothing was found",
  noHitsHint: "Try other words, search by meaning, or remove a filter.",
  welcome: "What are you looking for?",
  welcomeHint: "Search {0} by meaning, by words, or both, and see how the funnel finds it.",
  score: "score",
  rankDense: "by meaning {0}",
  rankLexical: "by words {0}",
  show: "Show in the document",
  passage: "passage {0}",
  metadata: "Metadata",
  funnel: "The funnel",
  funnelHint: "What each stage read, and what it kept for the next.",
  funnelWords: "A search by words has no funnel: it goes through postings of words. Search by meaning to see one.",
  funnelNone: "The funnel of a query appears here once you search.",
  stage: "Stage",
  dims: "{0} dims",
  bits: "{0} bit",
  read: "read",
  kept: "kept",
  bytes: "bytes",
  time: "time",
  logScale: "Bars are on a logarithmic scale.",
  droppedNone: "No true neighbour was dropped.",
  droppedHere: "Stage {0} dropped",
  droppedRank: "(rank {0} of the exact result)",
  droppedMore: "{0} more",
  recall: "recall",
  recallAt: "recall at {0}",
  latency: "latency",
  tradeoff: "Recall against latency",
  tradeoffHint: "Move a slider: the query runs again with other keeps or probes.",
  keeps: "Rows that the first stage keeps",
  probes: "Cells that are probed, of {0}",
  usual: "as stored",
  reset: "Reset",
  sweep: "Draw the curve",
  sweeping: "Drawing…",
  chartLabel: "Recall against latency of the funnels tried for this query",
  current: "now",
  map: "Map of the survivors",
  mapHint: "Principal axes of the first stage's prefix. Near points are alike; click one to open it.",
  mapLabel: "Map of {0}; colours show which stage dropped each",
  droppedBy: "Dropped by stage {0}",
  hit: "Hits",
  query: "Query",
  browse: "Browse",
  open: "Search in {0}",
  browseIn: "Browse {0}",
  more: "Show more",
  allShown: "These are all.",
  model: "Model",
  models: "Models",
  queryEncoders: "Query encoders",
  imitates: "In place of",
  noModel: "none: vectors come from outside",
  dim: "Dimensions",
  segments: "Segments",
  pending: "Pending",
  removed: "Removed",
  memory: "Memory",
  disk: "Disk",
  passages: "Passages",
  declared: "Indexed fields",
  version: "Version",
  uptime: "Running for",
  ready: "Ready",
  notReady: "Not ready",
  readOnly: "Read only",
  readWrite: "Reads and writes",
  access: "Access",
  state: "State",
  refresh: "Refresh",
  nesting: "Nesting dims",
  length: "Longest text, in tokens",
  name: "Name",
  none: "none",
};

export type Word = keyof typeof english;

const arabic: Record<Word, string> = {
  skip: "انتقل إلى النتائج",
  search: "البحث",
  documents: "المستندات",
  collections: "المجموعات",
  health: "الحالة",
  views: "الأقسام",
  otherLanguage: "English",
  theme: "المظهر",
  themeAuto: "كما في النظام",
  themeLight: "فاتح",
  themeDark: "داكن",
  collection: "المجموعة",
  placeholder: "اطرح سؤالًا، أو اكتب بضع كلمات",
  queryLabel: "الاستعلام",
  shortcut: "اضغط / للبحث، و↓ و↑ للتنقل بين النتائج، وEnter لفتح نتيجة، وEsc للرجوع",
  mode: "البحث حسب",
  dense: "المعنى",
  lexical: "الكلمات",
  hybrid: "كليهما",
  hits: "النتائج",
  number: "عدد النتائج",
  addFilter: "أضف مرشِّحًا",
  filters: "المرشِّحات",
  any: "أيّ قيمة",
  yes: "نعم",
  no: "لا",
  from: "من",
  to: "إلى",
  remove: "أزل مرشِّح {0}",
  valueOf: "قيمة {0}",
  close: "إغلاق",
  retry: "أعد المحاولة",
  loading: "جارٍ التحميل…",
  searching: "جارٍ البحث…",
  slow: "ما زال العمل جاريًا. الخادم بطيء الردّ، وربما يُحمَّل نموذج الآن.",
  offline: "تعذّر الوصول إلى الخادم",
  offlineHint: "تحقّق من أنّ الخادم يعمل وأنّ هذا الجهاز متصل. قد يكون ما تراه أدناه قديمًا.",
  busy: "الخادم مشغول",
  busyHint: "تُعاد المحاولة بعد {0} ث.",
  starting: "الخادم قيد البدء أو الإيقاف",
  forbidden: "لا يسمح هذا المفتاح بذلك",
  missing: "غير موجود",
  refused: "رُفض الطلب",
  failed: "أخفق الخادم",
  keyTitle: "مطلوب مفتاح API",
  keyHint: "يُحفظ في هذا التبويب فقط، ويُنسى عند إغلاقه.",
  keyLabel: "مفتاح API",
  keyWrong: "لا يعرف الخادم هذا المفتاح.",
  keyUse: "استخدم هذا المفتاح",
  keyForget: "انسَ المفتاح",
  noCollections: "لا توجد مجموعات بعد",
  noCollectionsHint: "أنشئ مجموعة من سطر الأوامر، ثم أعد تحميل الصفحة:",
  emptyCollection: "هذه المجموعة فارغة",
  emptyCollectionHint: "أضف مستندات من سطر الأوامر، أو أرسلها إلى الخادم:",
  noHits: "لم يُعثر على شيء",
  noHitsHint: "جرّب كلمات أخرى، أو ابحث حسب المعنى، أو أزل مرشِّحًا.",
  welcome: "عمّ تبحث؟",
  welcomeHint: "ابحث في {0} حسب المعنى أو الكلمات أو كليهما، وشاهد كيف يعثر القُمع على النتائج.",
  score: "الدرجة",
  rankDense: "حسب المعنى {0}",
  rankLexical: "حسب الكلمات {0}",
  show: "اعرضه في المستند",
  passage: "المقطع {0}",
  metadata: "البيانات الوصفية",
  funnel: "القُمع",
  funnelHint: "ما قرأته كل مرحلة، وما أبقته للتي تليها.",
  funnelWords: "لا قُمع للبحث حسب الكلمات، فهو يمرّ بفهرس الكلمات. ابحث حسب المعنى لتراه.",
  funnelNone: "يظهر هنا قُمع الاستعلام حين تبحث.",
  stage: "المرحلة",
  dims: "{0} بُعدًا",
  bits: "{0} بت",
  read: "قُرئ",
  kept: "أُبقي",
  bytes: "بايت",
  time: "الزمن",
  logScale: "الأشرطة بمقياس لوغاريتمي.",
  droppedNone: "لم يسقط أيّ جار حقيقي.",
  droppedHere: "أسقطت المرحلة {0}",
  droppedRank: "(الرتبة {0} في النتيجة الدقيقة)",
  droppedMore: "و{0} غيرها",
  recall: "الاستدعاء",
  recallAt: "الاستدعاء عند {0}",
  latency: "زمن الرد",
  tradeoff: "الاستدعاء مقابل زمن الرد",
  tradeoffHint: "حرّك المنزلق: يُعاد تنفيذ الاستعلام بأعداد أخرى من الصفوف أو الخلايا.",
  keeps: "الصفوف التي تُبقيها المرحلة الأولى",
  probes: "الخلايا التي تُفحص، من {0}",
  usual: "كما هو مخزّن",
  reset: "استعادة",
  sweep: "ارسم المنحنى",
  sweeping: "جارٍ الرسم…",
  chartLabel: "الاستدعاء مقابل زمن الرد للأقماع التي جُرّبت لهذا الاستعلام",
  current: "الآن",
  map: "خريطة الباقين",
  mapHint: "المحوران الرئيسيان لبادئة المرحلة الأولى. النقاط المتقاربة متشابهة؛ انقر نقطة لفتحها.",
  mapLabel: "خريطة {0}؛ تبيّن الألوان المرحلة التي أسقطت كلًّا منها",
  droppedBy: "أسقطتها المرحلة {0}",
  hit: "النتائج",
  query: "الاستعلام",
  browse: "تصفّح",
  open: "ابحث في {0}",
  browseIn: "تصفّح {0}",
  more: "اعرض المزيد",
  allShown: "هذا كل شيء.",
  model: "النموذج",
  models: "النماذج",
  queryEncoders: "مرمِّزات الاستعلامات",
  imitates: "بدلًا من",
  noModel: "لا يوجد: تأتي المتجهات من الخارج",
  dim: "الأبعاد",
  segments: "القطع",
  pending: "قيد الانتظار",
  removed: "المحذوفة",
  memory: "الذاكرة",
  disk: "القرص",
  passages: "المقاطع",
  declared: "الحقول المفهرسة",
  version: "الإصدار",
  uptime: "يعمل منذ",
  ready: "جاهز",
  notReady: "غير جاهز",
  readOnly: "للقراءة فقط",
  readWrite: "قراءة وكتابة",
  access: "الصلاحية",
  state: "الحالة",
  refresh: "تحديث",
  nesting: "أبعاد التداخل",
  length: "أطول نص بالرموز",
  name: "الاسم",
  none: "لا شيء",
};

const WORDS: Record<Language, Record<Word, string>> = { en: english, ar: arabic };

type Counted = "hits" | "documents" | "passages" | "collections" | "points";
type Forms = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };

const COUNTED: Record<Language, Record<Counted, Forms>> = {
  en: {
    hits: { one: "{0} hit", other: "{0} hits" },
    documents: { one: "{0} document", other: "{0} documents" },
    passages: { one: "{0} passage", other: "{0} passages" },
    collections: { one: "{0} collection", other: "{0} collections" },
    points: { one: "{0} point", other: "{0} points" },
  },
  ar: {
    hits: {
      zero: "لا نتائج",
      one: "نتيجة واحدة",
      two: "نتيجتان",
      few: "{0} نتائج",
      many: "{0} نتيجة",
      other: "{0} نتيجة",
    },
    documents: {
      zero: "لا مستندات",
      one: "مستند واحد",
      two: "مستندان",
      few: "{0} مستندات",
      many: "{0} مستندًا",
      other: "{0} مستند",
    },
    passages: {
      zero: "لا مقاطع",
      one: "مقطع واحد",
      two: "مقطعان",
      few: "{0} مقاطع",
      many: "{0} مقطعًا",
      other: "{0} مقطع",
    },
    collections: {
      zero: "لا مجموعات",
      one: "مجموعة واحدة",
      two: "مجموعتان",
      few: "{0} مجموعات",
      many: "{0} مجموعة",
      other: "{0} مجموعة",
    },
    points: {
      zero: "لا نقاط",
      one: "نقطة واحدة",
      two: "نقطتان",
      few: "{0} نقاط",
      many: "{0} نقطة",
      other: "{0} نقطة",
    },
  },
};

// Digits stay those of funnels and code ("64@4:1000"), in both languages.
const LOCALE: Record<Language, string> = { en: "en", ar: "ar-u-nu-latn" };

const filled = (pattern: string, values: readonly (string | number)[]): string =>
  pattern.replace(/\{(\d)\}/g, (_, place: string) => String(values[Number(place)] ?? ""));

export class Locale {
  private readonly plurals: Intl.PluralRules;
  private readonly numbers: Intl.NumberFormat;

  constructor(readonly language: Language) {
    this.plurals = new Intl.PluralRules(LOCALE[language]);
    this.numbers = new Intl.NumberFormat(LOCALE[language], { maximumFractionDigits: 0 });
  }

  get direction(): "ltr" | "rtl" {
    return this.language === "ar" ? "rtl" : "ltr";
  }

  get other(): Language {
    return this.language === "ar" ? "en" : "ar";
  }

  t(word: Word, ...values: (string | number)[]): string {
    return filled(WORDS[this.language][word], values);
  }

  count(what: Counted, n: number): string {
    const forms = COUNTED[this.language][what];
    return filled(forms[this.plurals.select(n)] ?? forms.other, [this.number(n)]);
  }

  number(n: number, digits = 0): string {
    if (digits === 0) return this.numbers.format(n);
    return n.toLocaleString(LOCALE[this.language], {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    });
  }

  bytes(n: number): string {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let value = n;
    let unit = 0;
    while (value >= 1000 && unit < units.length - 1) {
      value /= 1000;
      unit += 1;
    }
    return `${this.number(value, unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
  }

  microseconds(n: number): string {
    return n < 1000 ? `${this.number(n, n < 10 ? 1 : 0)} µs` : `${this.number(n / 1000, n < 10_000 ? 2 : 1)} ms`;
  }

  duration(seconds: number): string {
    const parts: [number, Intl.RelativeTimeFormatUnit & string][] = [
      [86_400, "day"],
      [3_600, "hour"],
      [60, "minute"],
      [1, "second"],
    ];
    const [size, unit] = parts.find(([length]) => seconds >= length) ?? [1, "second"];
    return new Intl.NumberFormat(LOCALE[this.language], {
      style: "unit",
      unit,
      unitDisplay: "long",
      maximumFractionDigits: 0,
    }).format(Math.floor(seconds / size));
  }

  time(date: Date): string {
    return new Intl.DateTimeFormat(LOCALE[this.language], { timeStyle: "medium" }).format(date);
  }
}

const KEY = "nestling-language";

export function rememberedLanguage(): Language {
  try {
    const kept = localStorage.getItem(KEY);
    if (kept === "en" || kept === "ar") return kept;
  } catch {
    // the browser refuses storage
  }
  return navigator.languages.find((tag) => /^(ar|en)\b/.test(tag))?.startsWith("ar") ? "ar" : "en";
}

export function rememberLanguage(language: Language): void {
  try {
    localStorage.setItem(KEY, language);
  } catch {
    // not remembered
  }
}
