// What /asyncapi.json says is AsyncAPI 3, and what the server says is what it says: node asyncapi.mjs ADDRESS
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import WebSocket from 'ws';

const [address] = process.argv.slice(2);
const api = await (await fetch(`http://${address}/asyncapi.json`)).json();

function validator(schema, options = {}) {
  const ajv = new Ajv({ strict: false, allErrors: true, unicodeRegExp: false, ...options });
  addFormats(ajv);
  return ajv.compile(schema);
}

/** A schema of the description, with the others that it refers to. */
const schemaOf = (name) => ({ ...api.components.schemas[name], components: api.components });

async function connect(path, protocol) {
  const socket = new WebSocket(`ws://${address}${path}`, protocol);
  const heard = [];
  const waiting = [];
  socket.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    if (waiting.length) waiting.shift()(message);
    else heard.push(message);
  });
  await once(socket, 'open');
  return {
    say: (event) => socket.send(typeof event === 'string' ? event : JSON.stringify(event)),
    next: async () => JSON.parse(heard.shift() ?? (await new Promise((resolve) => waiting.push(resolve)))),
    close: () => socket.close(),
  };
}

/** The names of the messages that an operation sends. */
const messagesOf = (operation) => api.operations[operation].messages.map(({ $ref }) => $ref.split('/').at(-1));

/** Checks a live event against its schema, and that no other event of the same channel has the same shape. */
function is(name, event, operation = 'hearEvent') {
  const matching = messagesOf(operation).filter((other) => validator(schemaOf(other))(event));
  assert.deepEqual(matching, [name], JSON.stringify(event));
}

const checks = {
  'the description is AsyncAPI 3.0.0'() {
    const schema = createRequire(import.meta.url)('@asyncapi/specs/schemas/3.0.0.json');
    // It brings the schema of schemas along.
    const validate = validator(schema, { meta: false, validateSchema: false });
    assert.equal(validate(api), true, JSON.stringify(validate.errors?.slice(0, 5), null, 2));
    assert.equal(validate({ ...api, asyncapi: '3' }), false, 'the schema refuses something');
  },
  'every reference leads somewhere'() {
    const references = JSON.stringify(api).match(/#\/[^"]+/g);
    for (const reference of references) {
      let at = api;
      for (const part of reference.slice(2).split('/')) at = at?.[part];
      assert.notEqual(at, undefined, reference);
    }
    assert.ok(references.length > 20);
  },
  'every example is what its schema says'() {
    let examples = 0;
    for (const { name, payload, examples: given = [] } of Object.values(api.components.messages)) {
      const schema = payload.$ref ? schemaOf(payload.$ref.split('/').at(-1)) : payload;
      for (const example of given) {
        assert.equal(validator(schema)(example.payload), true, name);
        examples += 1;
      }
    }
    assert.ok(examples >= 10);
  },
  async 'live events are what the description says'() {
    const ana = await connect('/ws/events', 'framewise.classroom');
    const bia = await connect('/ws/events?room=7a', 'framewise.classroom');
    const raw = await connect('/ws?room=7a');
    is('PeerJoined', await bia.next());
    ana.say({ type: 'join', room: '7a', name: 'ana' });
    is('Joined', await ana.next());
    is('PeerJoined', await bia.next());
    ana.say({ message: 'Olá' });
    is('Said', await bia.next());
    raw.say('cru');
    is('Said', await ana.next());
    is('Said', await bia.next());
    bia.say({ message: 'só você', to: 'ana' });
    is('Said', await ana.next());
    ana.say({ type: 'who' });
    is('Who', await ana.next());
    ana.say({ type: 'ping', id: 'c1' });
    is('Pong', await ana.next());
    is('Ack', await ana.next());
    for (const [fault, code] of [['"\\ud83d"', 'lone_surrogate'], ['1e999', 'number_out_of_range'], ['['.repeat(200), 'too_deep']]) {
      ana.say(fault);
      const error = await ana.next();
      is('Error', error);
      assert.equal(error.error.code, code);
    }
    for (const fault of ['{', '[]', '{}', '{"type":"x"}', '{"type":"join","name":""}', '{"message":"a","to":"x"}', '{"id":"c2"}', '{"message":"a","id":7}']) {
      ana.say(fault);
      is('Error', await ana.next());
    }
    bia.say({ type: 'join', name: 'Ana' });
    const taken = await bia.next();
    is('Error', taken);
    assert.deepEqual([taken.error.existing, taken.error.free], ['ana', 'Ana 2']);
    ana.say({ message: 'é'.repeat(16_385) });
    is('Error', await ana.next());
    ana.say({ type: 'leave' });
    is('Left', await ana.next());
    is('PeerLeft', await bia.next());
    // More than the budget, also on a machine so slow that the budget grows meanwhile.
    const eva = await connect('/ws/events?room=eva');
    for (let n = 0; n < 2_000; n += 1) eva.say('{}');
    let event = await eva.next();
    while (event.type === 'error') event = await eva.next();
    is('SlowedDown', event);
    for (const client of [ana, bia, raw, eva]) client.close();
  },
  async 'live responses to the explain page are what the description says'() {
    const page = await connect('/explain/ws');
    const asked = async (question, name) => {
      page.say(question);
      const response = await page.next();
      is(name, response, 'hearExplain');
      return response;
    };
    const { examples: questions } = api.components.messages.Explain;
    const [{ payload: explained }] = api.components.messages.Explained.examples;
    assert.deepEqual(await asked({ ...questions[0].payload, lang: 'en' }, 'Explained'), explained);
    for (const { payload } of questions.slice(1)) await asked(payload, 'Explained');
    // Every kind of item and field: frames with and without a mask, broken ones, heads with and without a body.
    for (const [input, from] of [
      ['898537fa213d7f9f4d5158 81fe000537', 'client'],
      ['810548656c6c6f', 'client'],
      ['8a008102c328', 'server'],
      ['88020bad', 'server'],
      ['827f000000000000', 'server'],
      ['GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n', 'client'],
      ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'server'],
    ]) {
      await asked({ type: 'explain', input, from }, 'Explained');
    }
    await asked({ type: 'ping' }, 'Pong');
    for (const [question, code] of [
      [{ type: 'other' }, 'invalid_question'],
      [{ type: 'send', id: 3, input: '81', path: '/metrics' }, 'invalid_question'],
      [{ type: 'explain', id: 4, input: '8' }, 'invalid_input'],
      [{ type: 'explain', id: 5, input: '00'.repeat(65_537) }, 'too_long'],
    ]) {
      const { error } = await asked(question, 'ExplainError');
      assert.equal(error.code, code);
    }
    const [{ payload: sent }] = api.components.messages.Send.examples;
    let report = await asked(sent, 'Received');
    while (report.ended === null) {
      report = await page.next();
      is('Received', report, 'hearExplain');
    }
    assert.deepEqual([report.id, report.ended], [sent.id, 'quiet']);
    page.close();
  },
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok     asyncapi: ${name}`);
  } catch (error) {
    console.log(`FAILED asyncapi: ${name}: ${error.stack}`);
  }
}
process.exit();
