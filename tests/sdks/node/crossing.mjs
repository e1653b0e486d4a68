// Runs the loop of tests/sdks/test_both_doors.py: its first half by one door, the rest by the other. Prints what was
// called and said as JSON.
import { text } from "node:stream/consumers";
import OpenAI from "openai";
import Together from "together-ai";

const { sdk, address, question, functions, first, steps } = JSON.parse(await text(process.stdin));
const options = { apiKey: "any", maxRetries: 0 };
const openai = new OpenAI({ baseURL: address + "/v1", ...options });
const { completions } = (sdk === "openai" ? openai : new Together({ baseURL: address, ...options })).chat;
const model = "scripted";
const messages = [{ role: "user", content: question }];
const called = [];
let last, said;
let news = [];

function took(id, content, calls) {
  last = id;
  said = content;
  news = [];
  messages.push({ role: "assistant", content: content || null, ...(calls.length ? { tool_calls: calls } : {}) });
  for (const { id, function: made } of calls) {
    const { to } = JSON.parse(made.arguments);
    called.push([id, made.name, to]);
    const result = made.name === "add" ? `So far ${to + 1}.` : "Noted.";
    messages.push({ role: "tool", tool_call_id: id, content: result });
    news.push({ type: "function_call_output", call_id: id, output: result });
  }
}

const doors = {
  async completions() {
    const tools = functions.map((each) => ({ type: "function", function: each }));
    const reply = await completions.stream({ model, messages, tools }).finalChatCompletion();
    const { content, tool_calls } = reply.choices[0].message;
    took(reply.id, content, tool_calls ?? []);
  },
  async responses() {
    const tools = functions.map((each) => ({ type: "function", ...each }));
    const asked = { model, input: news.length ? news : messages, tools, previous_response_id: last };
    const response = await openai.responses.stream(asked).finalResponse();
    const calls = response.output.filter((item) => item.type === "function_call");
    const made = calls.map(({ call_id, name, arguments: given }) => ({
      id: call_id,
      type: "function",
      function: { name, arguments: given },
    }));
    took(response.id, response.output_text, made);
  },
};
const second = first === "responses" ? "completions" : "responses";
for (let step = 0; step <= steps; step++) await doors[step < steps / 2 ? first : second]();

console.log(JSON.stringify({ called, said }));
