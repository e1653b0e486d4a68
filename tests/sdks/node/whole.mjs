// Asks for everything that chat completions have, with either SDK, and prints what it got as one JSON object.
// See tests/sdks/test_whole_api_typescript.py, which says what each request is answered with, in this order.
import { text } from "node:stream/consumers";
import OpenAI from "openai";
import Together from "together-ai";

const { sdk, address, tools } = JSON.parse(await text(process.stdin));
const options = { apiKey: "any", maxRetries: 0 };
const client =
  sdk === "openai"
    ? new OpenAI({ baseURL: address + "/v1", ...options })
    : new Together({ baseURL: address, ...options });
const { completions } = client.chat;
const asked = { model: "test/hand", messages: [{ role: "user", content: "How is the weather?" }] };
const got = {};

got.plain = (await completions.create({ ...asked, tools, tool_choice: "required" })).choices[0];

const events = [];
const stream = completions.stream({ ...asked, tools });
stream.on("content", (delta) => events.push(delta));
got.streamed = (await stream.finalChatCompletion()).choices[0];
got.events = events;

const ran = [];
function weather({ city }) {
  ran.push(city);
  return "Rain.";
}
if (completions.runTools) {
  const described = { ...tools[0].function, parse: JSON.parse, function: weather };
  const runner = completions.runTools({ ...asked, tools: [{ type: "function", function: described }] });
  got.final = await runner.finalContent();
} else {
  const { message } = (await completions.create({ ...asked, tools })).choices[0];
  const results = message.tool_calls.map((call) => ({
    role: "tool",
    tool_call_id: call.id,
    content: weather(JSON.parse(call.function.arguments)),
  }));
  const reply = await completions.create({ ...asked, messages: [...asked.messages, message, ...results], tools });
  got.final = reply.choices[0].message.content;
}
got.ran = ran;

const texts = ["", "", ""];
const reasons = [];
for await (const chunk of await completions.create({ ...asked, n: 3, stream: true })) {
  const choice = chunk.choices[0];
  texts[choice.index] += choice.delta.content;
  if (choice.finish_reason) reasons.push(choice.finish_reason);
  got.usage = chunk.usage;
  got.warnings = chunk.warnings;
}
got.texts = texts;
got.reasons = reasons;

const logprobs = sdk === "openai" ? { logprobs: true, top_logprobs: 2 } : { logprobs: 2 };
got.logprobs = (await completions.create({ ...asked, ...logprobs })).choices[0].logprobs;
got.streamed_logprobs = (await completions.stream({ ...asked, ...logprobs }).finalChatCompletion()).choices[0].logprobs;

got.reasoning = [];
for await (const chunk of await completions.create({ ...asked, reasoning_effort: "high", stream: true })) {
  if (chunk.choices[0].delta.reasoning) got.reasoning.push(chunk.choices[0].delta.reasoning);
}

got.errors = [];
for (const wrong of [{ model: "nobody/knows" }, { tools: [{ type: "function", function: { name: "" } }] }]) {
  try {
    await completions.create({ ...asked, ...wrong });
  } catch (error) {
    const { code, param } = error.error.error ?? error.error;
    got.errors.push({ name: error.constructor.name, status: error.status, code, param });
  }
}

console.log(JSON.stringify(got));
