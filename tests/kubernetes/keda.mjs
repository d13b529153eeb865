// Checks resources of KEDA against the types and the schemas of its custom resource definitions.
//   node keda.mjs DIR FILE.json...     DIR has node_modules with typescript and @kubernetes-models/keda; each file has one resource
// A key that is unknown or of the wrong type is a fault.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [place, ...files] = process.argv.slice(2);
const dir = resolve(place);
const require = createRequire(join(dir, "package.json"));
const ts = require("typescript");
const models = join(dir, "node_modules/@kubernetes-models/keda/keda.sh/v1alpha1/index.js");
const keda = await import(pathToFileURL(models).href);
let faults = 0;
for (const [index, file] of files.entries()) {
  const resource = JSON.parse(readFileSync(file, "utf8"));
  const where = `${file}: ${resource.kind}`;
  try {
    new keda[resource.kind](resource).validate();
  } catch (error) {
    faults += 1;
    console.error(`${where}: ${error.message}`);
  }
  const source = join(dir, `resource${index}.ts`);
  writeFileSync(
    source,
    `import { I${resource.kind} } from "@kubernetes-models/keda/keda.sh/v1alpha1";\nexport const it: I${resource.kind} = ${JSON.stringify(resource, null, 1)};\n`,
  );
  const program = ts.createProgram([source], {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: [],
  });
  for (const found of ts.getPreEmitDiagnostics(program)) {
    faults += 1;
    console.error(`${where}: ${ts.flattenDiagnosticMessageText(found.messageText, "\n")}`);
  }
}
console.log(`KEDA: ${files.length} resources, ${faults} faults`);
process.exit(faults || files.length === 0 ? 1 : 0);
