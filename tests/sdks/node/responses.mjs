// Does all that responses have with the openai SDK, and prints what it got as one JSON object.
// See tests/sdks/test_responses_typescript.py.
import { text } from "node:stream/consumers";
import OpenAI from "openai";

const { address, tools, begun } = JSON.parse(await text(process.stdin));
const { responses } = new OpenAI({ baseURL: address + "/v1", apiKey: "any", maxRetries: 0 });
const model = "scripted";
const got = {};

async function all(iterable) {
  const found = [];
  for await (const each of iterable) found.push(each);
  return found;
}
const sequence = (events) => events.map((event) => event.sequence_number);
const said = (events) =>
  events.map((event) => (event.type === "response.output_text.delta" ? event.delta : "")).join("");

const first = await responses.create({ model, input: "Hello", instructions: "Be brief.", metadata: { topic: "demo" } });
const second = await responses.create({ model, input: "More", previous_response_id: first.id });
const third = await responses.create({ model, input: "On", conversation: second.conversation.id });
got.texts = [first, second, third].map((response) => response.output_text);
got.conversations = [first, second, third].map((response) => response.conversation.id);
got.first = first;
got.retrieved = await responses.retrieve(first.id);

const items = Array.from({ length: 5 }, (_, n) => ({ role: n % 2 ? "assistant" : "user", content: `Number ${n}` }));
const many = await responses.create({ model, input: items });
got.asked = {};
for (const limit of [1, 2, 100]) {
  const pages = await all(responses.inputItems.list(many.id, { limit, order: "asc" }));
  got.asked[limit] = pages.map((item) => item.content[0].text);
}

const schema = {
  type: "object",
  properties: { city: { type: "string" }, degrees: { type: "integer" } },
  required: ["city", "degrees"],
  additionalProperties: false,
};
const format = { type: "json_schema", name: "weather", schema, strict: true };
got.parsed = (await responses.parse({ model, input: "Weather?", text: { format } })).output_parsed;
got.parsed_stream = (await responses.stream({ model, input: "Weather?", text: { format } }).finalResponse()).output_parsed;

const stream = responses.stream({ model, input: "The weather?", tools });
const events = await all(stream);
const called = await stream.finalResponse();
got.order = sequence(events);
got.calls = called.output.filter((item) => item.type === "function_call").map((call) => [call.name, call.arguments]);
const results = called.output
  .filter((item) => item.type === "function_call")
  .map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "Rain" }));
got.answer = (await responses.create({ model, input: results, previous_response_id: called.id, tools })).output_text;

got.again = [];
for (const starting_after of [0, 7, events.length - 2]) {
  const plain = await all(await responses.retrieve(called.id, { stream: true, starting_after }));
  const helper = responses.stream({ response_id: called.id, starting_after, tools });
  const helped = await all(helper);
  got.again.push([starting_after, sequence(plain), sequence(helped), (await helper.finalResponse()).output_text]);
}

const heard = [];
for await (const event of await responses.create({ model, input: "Tell me slowly", stream: true })) {
  heard.push(event);
  if (heard.length === 12) break; // which closes the connection
}
const { id } = heard[0].response;
heard.push(...(await all(await responses.retrieve(id, { stream: true, starting_after: 11 }))));
got.resumed = { order: sequence(heard), said: said(heard), stored: (await responses.retrieve(id)).output_text };

const background = await responses.create({ model, input: "Go on for ever", background: true });
got.background = background.status;
const running = [];
for await (const event of await responses.retrieve(background.id, { stream: true })) {
  running.push(event);
  if (event.type === "response.output_text.delta" && said(running) === begun)
    got.cancelled = (await responses.cancel(background.id)).status;
}
got.stopped = [running.at(-1).type, (await responses.retrieve(background.id)).output_text];
const cut = responses.stream({ response_id: background.id });
got.stopped_again = (await cut.finalResponse()).status;

const { input_tokens } = await responses.inputTokens.count({ model, input: "More of it", previous_response_id: first.id });
const counted = await responses.create({ model, input: "More of it", previous_response_id: first.id });
got.tokens = [input_tokens, counted.usage.input_tokens];

const compacted = await responses.compact({ model, previous_response_id: second.id });
got.compacted = compacted.output.map((item) => item.type);
const after = await responses.create({ model, input: [...compacted.output, { role: "user", content: "And now?" }] });
got.after = after.output_text;

got.pocket = (await responses.create({ model: "pocket", input: "My name is Ada." })).id;
got.pocket = (
  await responses.stream({ model: "pocket", input: "What's my name?", previous_response_id: got.pocket }).finalResponse()
).output_text;

got.deleted = (await responses.delete(first.id)) ?? null;
got.errors = [];
for (const wrong of [
  () => responses.retrieve(first.id),
  () => responses.create({ model, input: "x", previous_response_id: first.id }),
  () => responses.create({ model, input: "x", max_output_tokens: 3 }),
  () => responses.stream({ model, input: [{ role: "nobody", content: "x" }] }).finalResponse(),
]) {
  try {
    await wrong();
  } catch ({ constructor, status, code, param }) {
    got.errors.push([constructor.name, status, code, param]);
  }
}

console.log(JSON.stringify(got));
