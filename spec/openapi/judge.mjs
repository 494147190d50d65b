// judge.mjs DOCUMENT: whether an OpenAPI document is valid, and whether types can be made of it that
// the TypeScript compiler takes. Prints one JSON line {valid, errors, types, type_errors}.
import { readFileSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const document = JSON.parse(readFileSync(process.argv[2], "utf8"));
const verdict = await new Validator().validate(structuredClone(document));
const source = astToString(await openapiTS(structuredClone(document)));

const folder = mkdtempSync(join(tmpdir(), "cxb-types-"));
const file = join(folder, "api.ts");
writeFileSync(file, source);
const program = ts.createProgram([file], { strict: true, noEmit: true, types: [] });
const found = ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"));
rmSync(folder, { recursive: true });

console.log(JSON.stringify({
  valid: verdict.valid,
  errors: verdict.valid ? [] : JSON.stringify(verdict.errors).slice(0, 4000),
  types: (source.match(/^ {4}"\//gm) ?? []).length,
  type_errors: found.slice(0, 5),
}));
