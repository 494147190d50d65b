// Writes the LLaMA vocabulary as one compact file: "CXBV", the count as a 32-bit little-endian
// number, then for each token one length byte and its bytes in UTF-8, in the order of their ids.
// Usage: node vocab.mjs <llama-tokenizer.js> <out>
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [source, out] = process.argv.slice(2);
const { LlamaTokenizer } = await import(pathToFileURL(source).href);
const tokens = new LlamaTokenizer().vocabById;
const parts = [Buffer.from('CXBV'), Buffer.alloc(4)];
parts[1].writeUInt32LE(tokens.length);
for (const token of tokens) {
  const bytes = Buffer.from(token, 'utf8');
  if (bytes.length > 255) throw new Error(`token of ${bytes.length} bytes: at most 255 expected`);
  parts.push(Buffer.from([bytes.length]), bytes);
}
writeFileSync(out, Buffer.concat(parts));
