// Which app a chat came from, in a word or two, from what it said of itself (its User-Agent).

const OWN = "palaver page";
const KNOWN = [
  [/^palaver\//, "Command line"],
  [/^palaver[ -]cli/i, "Command line"],
  [/^(Async)?(Azure)?OpenAI\/Python/, "OpenAI Python"],
  [/^(Azure)?OpenAI\/JS/, "OpenAI JS"],
  [/^OpenAI\/(\w+)/, (found) => `OpenAI ${found[1]}`],
  [/^(Async)?Together\/Python/i, "Together Python"],
  [/^Together\/(JS|node|typescript)/i, "Together JS"],
  [/^Open[ -]?WebUI/i, "Open WebUI"],
  [/^litellm/i, "LiteLLM"],
  [/^langchain/i, "LangChain"],
  [/^ai(-sdk)?\//, "AI SDK"],
  [/^python-(requests|httpx|urllib3)/i, "Python"],
  [/^Python(-urllib)?\//, "Python"],
  [/^(undici|node|node-fetch|axios|got)\b/i, "Node.js"],
  [/^Go-http-client/, "Go"],
  [/^Java\/|^okhttp|^Apache-HttpClient/, "Java"],
  [/^(reqwest|hyper|ureq)\b/i, "Rust"],
  [/^curl\//, "curl"],
  [/^Wget\//, "Wget"],
];
const BROWSERS = [[/\bEdg(e|A|iOS)?\//, "Edge"], [/\bOPR\//, "Opera"], [/\bFirefox\//, "Firefox"], [/\bChrom(e|ium)\//, "Chrome"], [/\bSafari\//, "Safari"]];
/** What any browser says of itself; another name among these is an app's that is built on one. */
const COMMON = /^(Mozilla|AppleWebKit|Gecko|KHTML|Chrome|Chromium|HeadlessChrome|Safari|Version|Mobile|Electron|Edg\w*|OPR|Firefox)$/;
const LONGEST = 24;

/** The name of the app; "" for this page, and where none is known.
 *  sourceLabel("AsyncOpenAI/Python 1.9.0") is "OpenAI Python", sourceLabel("Zed/0.1 (linux)") is "Zed". */
export function sourceLabel(source) {
  if (!source || source === OWN) return "";
  for (const [pattern, name] of KNOWN) {
    const found = source.match(pattern);
    if (found) return typeof name === "string" ? name : name(found);
  }
  if (source.startsWith("Mozilla/")) return browsing(source);
  const name = source.split(/[/(;]/, 1)[0].trim();
  return name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name;
}

function browsing(source) {
  const products = [...source.matchAll(/([A-Za-z][\w.-]*)\/[\w.]+/g)].map((found) => found[1]);
  const own = products.find((each) => !COMMON.test(each));
  return own ?? BROWSERS.find(([pattern]) => pattern.test(source))?.[1] ?? "Browser";
}
