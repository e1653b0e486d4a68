// Runs the loop of tests/sdks/test_tool_loop.py with either SDK: asks, adds, sends the result back, until the model
// says something. Prints what was called and said as JSON.
import { text } from "node:stream/consumers";
import OpenAI from "openai";
import Together from "together-ai";

const { sdk, address, model, question, tools, stream } = JSON.parse(await text(process.stdin));
const options = { apiKey: "any", maxRetries: 0 };
const client =
  sdk === "openai"
    ? new OpenAI({ baseURL: address + "/v1", ...options })
    : new Together({ baseURL: address, ...options });
const { completions } = client.chat;
const messages = [{ role: "user", content: question }];
const called = [];
let message;
do {
  const asked = { model, messages, tools };
  const reply = stream
    ? await completions.stream(asked).finalChatCompletion()
    : await completions.create(asked);
  message = reply.choices[0].message;
  messages.push(message);
  for (const call of message.tool_calls ?? []) {
    const { to } = JSON.parse(call.function.arguments);
    called.push([call.id, to]);
    messages.push({ role: "tool", tool_call_id: call.id, content: `So far ${to + 1}.` });
  }
} while (message.tool_calls?.length);

console.log(JSON.stringify({ called, said: message.content }));
