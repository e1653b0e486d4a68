// Text completions and embeddings of both SDKs at the address on standard input; prints what came of each as JSON.
import { text } from "node:stream/consumers";
import OpenAI from "openai";
import Together from "together-ai";

async function texts(client) {
  const asked = { model: "m", prompt: "Once upon", n: 2, logprobs: 2 };
  const whole = await client.completions.create(asked);
  const streamed = ["", ""];
  let usage = null;
  for await (const chunk of await client.completions.create({ ...asked, stream: true })) {
    streamed[chunk.choices[0].index] += chunk.choices[0].text;
    usage = chunk.usage ?? usage;
  }
  const vectors = await client.embeddings.create({ model: "m", input: ["Once", "upon"] });
  let error = null;
  try {
    await client.completions.create({ model: "m", prompt: "word ".repeat(300) });
  } catch (raised) {
    error = { name: raised.constructor.name, status: raised.status, message: raised.message };
  }
  return {
    object: whole.object,
    texts: whole.choices.map((choice) => choice.text),
    reasons: whole.choices.map((choice) => choice.finish_reason),
    tokens: whole.choices[0].logprobs.tokens,
    usage: whole.usage.total_tokens,
    streamed,
    streamed_usage: usage.total_tokens,
    vectors: vectors.data.map((each) => each.embedding),
    error,
  };
}

const { address } = JSON.parse(await text(process.stdin));
const openai = new OpenAI({ baseURL: address + "/v1", apiKey: "any", maxRetries: 0 });
const together = new Together({ baseURL: address, apiKey: "any", maxRetries: 0 });
console.log(JSON.stringify({ openai: await texts(openai), together: await texts(together) }));
