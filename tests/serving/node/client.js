// Runs an exported model from Node.js: node client.js MODEL_DIR SIGNATURE FILE...
// All files go in one batch; prints the outputs as one JSON object of flat arrays.
const fs = require('fs');
const tf = require('@tensorflow/tfjs-node');

async function main() {
  const [dir, signature, ...paths] = process.argv.slice(2);
  const model = await tf.node.loadSavedModel(dir, ['serve'], signature);
  const files = paths.map(path => new Uint8Array(fs.readFileSync(path)));
  const outputs = model.predict({image_bytes: tf.tensor(files, [files.length], 'string')});
  const printed = {};
  // JSON has no NaN: refused rows become null.
  for (const [name, value] of Object.entries(outputs)) printed[name] = Array.from(value.dataSync());
  console.log(JSON.stringify(printed));
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
