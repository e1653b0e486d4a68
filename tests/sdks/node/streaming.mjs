// Talks for some turns with either SDK, streamed and plain, and prints what it got as one JSON object.
import OpenAI from "openai";
import Together from "together-ai";

const client = process.argv[2] === "together" ? new Together() : new OpenAI();
const model = "pocket";
const messages = [];
const turns = [];

for (const content of [
  "My name is Zaraphine.",
  "What is the capital of France?",
  "Tell me a joke",
  "What is my name?",
]) {
  messages.push({ role: "user", content });
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  let text = "";
  let finish = null;
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0].delta.content ?? "";
    finish = chunk.choices[0].finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  messages.push({ role: "assistant", content: text });
  turns.push({ text, finish, usage });
}

const { data, response } = await client.chat.completions
  .create({ model, messages: [...messages, { role: "user", content: "What is the capital of France?" }] })
  .withResponse();
const models = await client.models.list();
let refused = null;
try {
  await client.chat.completions.create({ model: "no-such-model", messages });
} catch (error) {
  refused = { name: error.constructor.name, status: error.status };
}

console.log(
  JSON.stringify({
    turns,
    plain: data.choices[0].message.content,
    conversation: response.headers.get("palaver-conversation"),
    turn: response.headers.get("palaver-turn"),
    models: (models.data ?? models).map((m) => m.id),
    refused,
  }),
);
