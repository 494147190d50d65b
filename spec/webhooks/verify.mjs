// Verifies Standard Webhooks signatures with the reference library: one JSON object a line in,
// {"headers": {...}, "body": "...", "secret": "whsec_..."}, "ok" or "refused: why" a line out.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const { headers, body, secret } = JSON.parse(line);
  try {
    new Webhook(secret).verify(body, headers);
    console.log("ok");
  } catch (error) {
    console.log(`refused: ${error.message}`);
  }
}
