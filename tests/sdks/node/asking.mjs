// Does the jobs on standard input (see tests/sdks/asking.py) all at once, and prints what came of each as JSON.
import { text } from "node:stream/consumers";
import OpenAI from "openai";
import Together from "together-ai";

async function ask(job) {
  const got = { id: null, turn: null, conversation: null, content: "", reply: null, status: null, error: null };
  const client =
    job.sdk === "openai"
      ? new OpenAI({ baseURL: job.address + "/v1", apiKey: "any" })
      : new Together({ baseURL: job.address, apiKey: "any" });
  const { model, messages, stream, more, headers } = job;
  try {
    const sent = client.chat.completions.create({ model, messages, stream, ...more }, { headers });
    const response = await sent.asResponse();
    got.status = response.status;
    got.turn = response.headers.get("palaver-turn");
    got.conversation = response.headers.get("palaver-conversation");
    const reply = await sent;
    if (stream) {
      for await (const chunk of reply) {
        got.id = chunk.id;
        got.content += chunk.choices[0].delta.content ?? "";
      }
    } else {
      got.id = reply.id;
      got.reply = reply.choices[0].message;
      got.content = got.reply.content;
    }
  } catch (error) {
    got.error = error.constructor.name;
    got.status = error.status ?? got.status;
  }
  return got;
}

const jobs = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(await Promise.all(jobs.map(ask))));
