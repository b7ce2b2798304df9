// OpenAI's client for JavaScript, which asks for base64 unless it is told otherwise.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [url, packages] = process.argv.slice(2);
const require = createRequire(pathToFileURL(packages + "/"));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")));
const sentences = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."];
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "unused", maxRetries: 0 });
for (const more of [{}, { encoding_format: "float" }, { encoding_format: "base64" }, { user: "u" }]) {
  const { data } = await client.embeddings.create({ model: "minilm", input: sentences, ...more });
  let vectors = data.map((entry) => entry.embedding);
  if (typeof vectors[0] === "string") {
    vectors = vectors.map((text) => {
      const bytes = Buffer.from(text, "base64");
      return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
    });
  }
  console.log(JSON.stringify({ way: JSON.stringify(more), vectors }));
}
