// `resolver.lock.toml`: which component is committed, and from which source it was built. Two builds of one
// source differ in their bytes, so that nobody can build the component again to see that it is the right one:
// the lock file has to say it.
//
// Run by itself, after a build, it writes the lock file.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = new URL('../../../', import.meta.url);
const FOLDER = 'tests/guests/quickjs';
const CONTRACT = 'wit/deps/yoi-resolver@1.0.0';
const LOCK = `${FOLDER}/resolver.lock.toml`;

const read = (path) => readFileSync(new URL(path, ROOT));
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

export class Pin {
  constructor(digest, size, files, tools) {
    Object.assign(this, { digest, size, files, tools });
  }

  // Of the component and the source as they lie there now.
  static ofFolder() {
    const component = read(`${FOLDER}/resolver.wasm`);
    const tools = JSON.parse(read(`${FOLDER}/package.json`)).devDependencies;
    return new Pin(`sha256:${sha256(component)}`, component.length, filesDigest(), tools);
  }

  toText() {
    return [
      '# Written by `npm run build`, checked by `npm test`.',
      '',
      `digest = ${JSON.stringify(this.digest)}`,
      `size = ${this.size}`,
      '',
      '[source]',
      `files = ${JSON.stringify(this.files)}`,
      '',
      '[toolchain]',
      ...Object.entries(this.tools).map(([name, version]) => `${JSON.stringify(name)} = ${JSON.stringify(version)}`),
      '',
    ].join('\n');
  }
}

// What the lock file says. It is read line by line, being TOML of one shape only.
export function pinned() {
  const lines = read(LOCK).toString().split('\n').filter((line) => line.includes(' = '));
  const entries = lines.map((line) => line.split(' = ')).map(([key, value]) => [key, JSON.parse(value)]);
  const { digest, size, files, ...tools } = Object.fromEntries(entries);
  const named = Object.entries(tools).map(([name, version]) => [JSON.parse(name), version]);
  return new Pin(digest, size, files, Object.fromEntries(named));
}

// SHA-256 over the lines `<digest>  <path>` that `sha256sum` prints for the modules and the contract, sorted
// by path.
function filesDigest() {
  const modules = readdirSync(new URL(FOLDER, ROOT)).filter((name) => name.endsWith('.js'));
  const contract = readdirSync(new URL(CONTRACT, ROOT)).filter((name) => !name.startsWith('.'));
  const paths = [
    ...modules.map((name) => `${FOLDER}/${name}`),
    'wit/world.wit',
    ...contract.map((name) => `${CONTRACT}/${name}`),
  ];
  const lines = paths.sort().map((path) => `${sha256(read(path))}  ${path}\n`);
  return `sha256:${sha256(lines.join(''))}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL(LOCK, ROOT), Pin.ofFolder().toText());
}
