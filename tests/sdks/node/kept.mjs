// Goes through conversations and stored chat completions with the openai SDK, and prints what it got as one JSON object.
// See tests/sdks/test_kept.py.
import { text } from "node:stream/consumers";
import OpenAI from "openai";

const { address, items } = JSON.parse(await text(process.stdin));
const client = new OpenAI({ baseURL: address + "/v1", apiKey: "any", maxRetries: 0 });
const { conversations, responses } = client;
const { completions } = client.chat;
const model = "scripted";
const got = {};

async function all(iterable) {
  const found = [];
  for await (const each of iterable) found.push(each);
  return found;
}
async function refused(call) {
  try {
    await call();
  } catch ({ constructor, status, code, param }) {
    return [constructor.name, status, code, param];
  }
}

const made = await conversations.create({ items: items.slice(0, 2), metadata: { topic: "demo" } });
got.made = [made.object, made.metadata, (await conversations.retrieve(made.id)).id === made.id];
got.updated = (await conversations.update(made.id, { metadata: { topic: "other" } })).metadata;
const added = await conversations.items.create(made.id, { items: items.slice(2) });
got.added = added.data.map((item) => item.type);
const response = await responses.create({ model, input: "Hello", conversation: { id: made.id } });
got.answer = response.output_text;
got.pages = {};
for (const limit of [1, 3, 100]) {
  const found = await all(conversations.items.list(made.id, { limit, order: "asc" }));
  got.pages[limit] = found.map((item) => item.type);
}
const latest = (await conversations.items.list(made.id, { limit: 1 })).data[0];
got.latest = latest.content[0].text;
got.one = (await conversations.items.retrieve(latest.id, { conversation_id: made.id })).id === latest.id;
got.left = (await conversations.items.delete(latest.id, { conversation_id: made.id })).id === made.id;
got.no_cursor = await refused(() => conversations.items.list(made.id, { after: latest.id }));
got.gone = await conversations.delete(made.id);
got.missing = await refused(() => conversations.retrieve(made.id));
got.gone.id = got.gone.id === made.id;

const metadata = { made_by: "typescript" };
const ids = [];
for (const content of ["One", "Two", "Three"]) {
  const messages = [{ role: "system", content: "Be brief." }, { role: "user", content }];
  ids.push((await completions.create({ model, messages, store: true, metadata })).id);
}
got.listed = {};
for (const limit of [1, 2, 100])
  got.listed[limit] = (await all(completions.list({ limit, metadata }))).map(({ id }) => ids.indexOf(id));
got.backwards = (await all(completions.list({ limit: 2, metadata, order: "desc" }))).map(({ id }) => ids.indexOf(id));
got.stored = (await completions.retrieve(ids[0])).choices[0].message.content;
got.asked = (await all(completions.messages.list(ids[0], { limit: 1 }))).map(({ role, content }) => [role, content]);
got.noted = (await completions.update(ids[1], { metadata: { ...metadata, note: "seen" } })).metadata;
got.found = (await all(completions.list({ metadata: { ...metadata, note: "seen" } }))).map(({ id }) => ids.indexOf(id));
const deleted = await completions.delete(ids[2]);
got.deleted = [deleted.object, deleted.deleted, deleted.id === ids[2]];
got.missing_reply = await refused(() => completions.retrieve(ids[2]));

console.log(JSON.stringify(got));
