// The scenarios for a client from npm: main(connect), where connect(port, protocol, login) gives an object with the
// library's own calls, under the names that scenarios.txt uses.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const LIMIT_MS = 20000;
const NO_CALL = Symbol('the library has no call for it');

const wordOf = (text) => Buffer.from(text === "''" ? '' : Buffer.from(text).toString('latin1').replace(/\\x(..)/g,
  (_, hexed) => String.fromCharCode(parseInt(hexed, 16))), 'latin1');

function show(value) {
  if (value === undefined || value === null) return null;
  if (value instanceof Error) return { error: value.message, kind: value.constructor.name };
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) {
    const text = Buffer.from(value).toString();
    return /^[^\x00-\x08\x0b-\x1f\ufffd]*$/.test(text) ? text : `hex:${Buffer.from(value).toString('hex')}`;
  }
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [String(show(k)), show(v)]));
  if (value instanceof Set) return [...value].map(show).sort();
  if (Array.isArray(value)) return value.map(show);
  if (typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, show(v)]));
  return value;
}

async function waitFor(condition) {
  for (const deadline = Date.now() + LIMIT_MS; ;) {
    const said = await condition();
    if (said) return said;
    if (Date.now() > deadline) throw new Error('waited in vain');
    await new Promise((done) => setTimeout(done, 2));
  }
}

// What comes by itself, in the order in which it came.
class Inbox {
  constructor() { this.items = []; }
  put(...item) { this.items.push(item); }
  async take(count) {
    await waitFor(() => this.items.length >= count);
    return this.items.splice(0, count);
  }
}

class Scenario {
  constructor(port, protocol, connect) { Object.assign(this, { port, protocol, connect, connections: new Map() }); }

  async get(name) {
    if (!this.connections.has(name)) this.connections.set(name, await this.connect(this.port, this.protocol));
    return this.connections.get(name);
  }

  async words(connection, texts) {
    const words = [];
    for (const text of texts) {
      if (text === '@track') words.push(...(await connection.trackWords()).map(wordOf));
      else if (text.startsWith('@id:')) words.push(wordOf(String(await (await this.get(text.slice(4))).command('CLIENT', 'ID'))));
      else words.push(wordOf(text));
    }
    return words;
  }

  async login(name, user, password) {
    await this.connections.get(name)?.end();
    this.connections.delete(name);
    this.connections.set(name, await this.connect(this.port, this.protocol, { username: user, password }));
    return (await this.get(name)).command('PING');
  }

  // What a step shows; undefined if the library has no call for it.
  async step(line) {
    const [name, verb, ...rest] = line.split(' ');
    try {
      if (verb === 'user') return show(await this.login(name, ...rest));
      const connection = await this.get(name);
      const words = await this.words(connection, rest);
      if (verb === verb.toUpperCase()) return show(await connection.command(verb, ...words));
      if (verb === 'until') {
        await waitFor(async () => String(show(await connection.command(...words.slice(1)))) === rest[0]);
        return rest[0];
      }
      if (verb === 'fails') return await connection.command(...words).then(() => false, () => true);
      if (typeof connection[verb] !== 'function') return undefined;
      const shown = await connection[verb](...words);
      return shown === NO_CALL ? undefined : show(shown);
    } catch (error) {
      return show(error);
    }
  }

  async end() {
    for (const connection of this.connections.values()) await connection.end();
  }
}

function scenarios() {
  const found = [];
  for (const line of fs.readFileSync(path.join(__dirname, 'scenarios.txt'), 'utf8').split('\n')) {
    if (line.startsWith('== ')) found.push([line.slice(3), []]);
    else if (line && !line.startsWith('#')) found.at(-1)[1].push(line);
  }
  return found;
}

async function main(connect) {
  const [port, protocol, group] = [Number(process.argv[2]), Number(process.argv[3]), process.argv[4]];
  const [[, setup], ...others] = scenarios();
  for (const [name, steps] of others.filter(([name]) => name.startsWith(group))) {
    const scenario = new Scenario(port, protocol, connect);
    for (const line of setup) await scenario.step(line);
    for (const line of steps) {
      const shown = await scenario.step(line);
      if (shown === undefined) break;
      fs.writeSync(1, `${JSON.stringify({ scenario: name, step: line, shown })}\n`);
    }
    await scenario.end();
  }
  process.exit(0);
}

module.exports = { Inbox, NO_CALL, main, show };
