// Makes the moves on standard input (see tests/sdks/talking.py) with either SDK, as an app that resends its whole
// history, and prints what it sent and got as JSON.
import { text } from "node:stream/consumers";
import OpenAI from "openai";
import Together from "together-ai";

const { sdk, address, moves } = JSON.parse(await text(process.stdin));
const client =
  sdk === "openai"
    ? new OpenAI({ baseURL: address + "/v1", apiKey: "any" })
    : new Together({ baseURL: address, apiKey: "any" });
const exchanges = [];
const conversations = [];

for (const { of, keep, say, seed } of moves) {
  const before = exchanges[of];
  const sent = before ? [...before.sent, before.reply].slice(0, keep) : [];
  if (say !== null) sent.push({ role: "user", content: say });
  const request = { model: "scripted", messages: sent, seed: seed ?? undefined };
  const { data, response } = await client.chat.completions.create(request).withResponse();
  conversations.push(response.headers.get("palaver-conversation"));
  exchanges.push({ sent, reply: data.choices[0].message });
}

console.log(JSON.stringify({ exchanges, conversations }));
