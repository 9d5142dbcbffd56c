import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { bufferSource } from '../../../daemon/images/byte-source.ts';
import { ospContentNames } from '../../../daemon/images/osp-members.ts';
import { ospIdentity, ospMetadataBytes } from '../../../daemon/images/osp-metadata.ts';
import { type Osp, readOsp, readOspFrom } from '../../../daemon/images/osp-reader.ts';
import { isSignedBy, signOsp } from '../../../daemon/images/osp-signature.ts';
import {
  type OspContent,
  type PreparedOsp,
  prepareOsp,
} from '../../../daemon/images/osp-writer.ts';
import { PersonaError } from '../../../ipc/errors.ts';
import { when } from '../../support/needs.ts';
import { type BuiltOsp, builtOsp, emptySeed, ospFacts } from '../../support/osp-builder.ts';
import { built } from '../../support/tar-builder.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { successOrPersonaError } from '../../support/tree-facts.ts';

const keys = generateKeyPairSync('ed25519');

function content(image: Buffer = Buffer.alloc(100_001, 'image')): OspContent {
  return {
    facts: { ...ospFacts, target_os: { ...ospFacts.target_os }, required_resources: {} },
    members: {
      'diff_image.img': bufferSource(image),
      'application_list.txt': bufferSource(Buffer.from('# nothing\n')),
      'data_seed.tar.gz': bufferSource(emptySeed),
      'runtime_config.json': bufferSource(Buffer.from('{"environment":{"A":"b"}}')),
    },
  };
}

async function written(prepared: PreparedOsp): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of prepared.bytes()) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const read = (bytes: Buffer): Promise<Osp> => readOspFrom(bufferSource(bytes));

test('what is written is read back, aligned to a page, the same bytes every time', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.nat(20_000), fc.integer({ min: 0, max: 4096 }), async (size, note) => {
      const image = Buffer.alloc(size, 'i');
      const given = content(image);
      given.facts.description = 'd'.repeat(note);
      const prepared = await prepareOsp(given);
      const bytes = await written(prepared);
      t.is(bytes.length, prepared.size);
      t.is(prepared.diffOffset % 4096, 0);
      t.true(bytes.subarray(prepared.diffOffset, prepared.diffOffset + size).equals(image));
      t.true(bytes.equals(await written(await prepareOsp(given))));
      const osp = await read(bytes);
      t.is(osp.identity, prepared.identity);
      t.true(osp.inPlace);
      t.deepEqual(osp.members['diff_image.img'], { offset: prepared.diffOffset, size });
      t.deepEqual(osp.metadata, prepared.metadata);
      t.deepEqual(osp.runtime.environment, { A: 'b' });
      t.deepEqual(Object.keys(osp.members).slice(0, 2), ['metadata.json', 'diff_image.img']);
    }),
    { numRuns: 60 },
  );
});

test('the identity is the digest of canonical metadata, which names every byte', async (t) => {
  const one = await prepareOsp(content());
  t.is(
    one.identity,
    `sha256:${createHash('sha256').update(ospMetadataBytes(one.metadata)).digest('hex')}`,
  );
  t.not(one.identity, (await prepareOsp(content(Buffer.alloc(100_001, 'x')))).identity);
  const other = content();
  other.facts.version = '1.1';
  t.not(one.identity, (await prepareOsp(other)).identity);
});

test('a signature covers the metadata and nothing can be changed under it', async (t) => {
  const sign = (metadata: Buffer) => signOsp(metadata, 'machine-1', keys.privateKey);
  const osp = await read(await written(await prepareOsp({ ...content(), sign })));
  t.is(osp.signature?.key_id, 'machine-1');
  t.true(isSignedBy(ospMetadataBytes(osp.metadata), osp.signature!, keys.publicKey));
  const changed = { ...osp.metadata, version: '9' };
  t.false(isSignedBy(ospMetadataBytes(changed), osp.signature!, keys.publicKey));
  const stranger = generateKeyPairSync('ed25519').publicKey;
  t.false(isSignedBy(ospMetadataBytes(osp.metadata), osp.signature!, stranger));
});

test('a member that changes between the two passes is noticed', async (t) => {
  const image = Buffer.alloc(10_000, 1);
  const prepared = await prepareOsp(content(image));
  image[5000] = 2;
  await t.throwsAsync(written(prepared), { code: 'digest-mismatch' });
});

test('facts that are wrong are refused before anything is written', async (t) => {
  const given = content();
  given.facts.name = '../x';
  await t.throwsAsync(prepareOsp(given), { code: 'bad-persona', message: /name/ });
});

test('a foreign file is accepted: any order, ./ in front, spaces in its JSON, not aligned', async (t) => {
  const bytes = builtOsp({
    members: (members) => [
      { name: './', type: '5', mode: 0o755 },
      ...members.reverse().map((member) => ({ ...member, name: `./${member.name}` })),
    ],
  });
  const osp = await read(bytes);
  t.false(osp.inPlace);
  t.is(osp.metadata.name, 'work');
  // Spaces and order in the text do not change who it is.
  const members = osp.metadata.members;
  t.is(osp.identity, ospIdentity({ format_version: 1, ...ospFacts, members }));
});

when(test, { tools: ['tar'] })(
  'a file packed by GNU tar is accepted, and ours is unpacked by it',
  async (t) => {
    const folder = temporaryFolder(t);
    const bytes = await written(await prepareOsp(content()));
    writeFileSync(join(folder, 'ours.osp'), bytes);
    mkdirSync(join(folder, 'out'));
    execFileSync('tar', ['-xf', join(folder, 'ours.osp'), '-C', join(folder, 'out')]);
    t.true(readFileSync(join(folder, 'out/data_seed.tar.gz')).equals(emptySeed));
    execFileSync('tar', ['-cf', join(folder, 'again.osp'), '-C', join(folder, 'out'), '.']);
    const fd = openSync(join(folder, 'again.osp'), 'r');
    t.teardown(() => closeSync(fd));
    const osp = await readOsp(fd);
    t.is(osp.identity, (await read(bytes)).identity);
  },
);

type Change = (value: Record<string, unknown>) => unknown;
const meta = (change: Change): BuiltOsp => ({ metadata: change });
const without = (name: string): BuiltOsp => ({
  members: (all) => all.filter((one) => one.name !== name),
});
const member = (value: Record<string, unknown>, name: string) =>
  (value.members as Record<string, Record<string, unknown>>)[name]!;

const refused: [string, BuiltOsp | Buffer, RegExp, string][] = [
  ['nothing', Buffer.alloc(0), /no tar/, 'bad-persona'],
  ['no tar', Buffer.from('hello'.repeat(500)), /no tar/, 'bad-persona'],
  ['a packed file', execFileSync('gzip', { input: builtOsp() }), /is gzip/, 'bad-persona'],
  ['cut in the middle', builtOsp().subarray(0, 4000), /cut off/, 'bad-archive'],
  ['without its end mark', builtOsp().subarray(0, -1024), /end mark/, 'bad-archive'],
  [
    'followed by something',
    Buffer.concat([builtOsp(), Buffer.from('more')]),
    /follows its end mark/,
    'bad-archive',
  ],
  [
    'two joined files',
    Buffer.concat([builtOsp(), builtOsp()]),
    /follows its end mark/,
    'bad-archive',
  ],
  ...['metadata.json', ...ospContentNames].map((name): [string, BuiltOsp, RegExp, string] => [
    `without ${name}`,
    without(name),
    new RegExp(`lacks the member ${name}`),
    'bad-persona',
  ]),
  [
    'an unknown member',
    { members: (all) => [...all, { name: 'extra' }] },
    /unknown member "extra"/,
    'bad-persona',
  ],
  [
    'a member twice',
    { members: (all) => [...all, { name: 'metadata.json', data: '{}' }] },
    /metadata.json twice/,
    'bad-persona',
  ],
  [
    'a member by another path',
    { members: (all) => [...all, { name: '/metadata.json' }] },
    /unknown member/,
    'bad-persona',
  ],
  [
    'a member that is a link',
    {
      members: (all) =>
        all.map((one) =>
          one.name === 'data_seed.tar.gz'
            ? { name: one.name, type: '2', linkName: '/etc/shadow' }
            : one,
        ),
    },
    /not a plain file/,
    'bad-persona',
  ],
  [
    'a negative size',
    {
      members: (all) => [
        ...all,
        built({ name: 'signature', raw: { 124: Buffer.alloc(12, 0xff) } }),
      ],
    },
    /negative size/,
    'bad-archive',
  ],
  [
    'a newer format',
    meta((value) => ({ ...value, format_version: 2, new_thing: true })),
    /format version 2/,
    'format-too-new',
  ],
  ['no format', meta(({ format_version: _, ...value }) => value), /format_version/, 'bad-persona'],
  ['an unknown fact', meta((value) => ({ ...value, extra: 1 })), /extra/, 'bad-persona'],
  ['a missing fact', meta(({ base_digest: _, ...value }) => value), /base_digest/, 'bad-persona'],
  [
    'a name that is a path',
    meta((value) => ({ ...value, name: '../../etc' })),
    /name/,
    'bad-persona',
  ],
  [
    'a base that is no digest',
    meta((value) => ({ ...value, base_digest: 'sha256:xyz' })),
    /base_digest/,
    'bad-persona',
  ],
  [
    'a time that is none',
    meta((value) => ({ ...value, created: '2026-02-31' })),
    /created/,
    'bad-persona',
  ],
  [
    'control characters',
    meta((value) => ({ ...value, description: 'a\u001b[2Jb' })),
    /description/,
    'bad-persona',
  ],
  ['a wrong origin', meta((value) => ({ ...value, origin: 'found' })), /origin/, 'bad-persona'],
  ['metadata that is a list', { metadataText: '[]' }, /metadata.json is wrong/, 'bad-persona'],
  ['metadata that is no JSON', { metadataText: '{"a":' }, /is not JSON/, 'bad-persona'],
  [
    'metadata with a key twice',
    { metadataText: '{"name":"a","name":"b"}' },
    /"name" twice/,
    'bad-persona',
  ],
  ['metadata with __proto__', { metadataText: '{"__proto__":{}}' }, /cannot be one/, 'bad-persona'],
  [
    'metadata nested without end',
    { metadataText: '['.repeat(5000) },
    /nested deeper/,
    'bad-persona',
  ],
  [
    'metadata of megabytes',
    { metadataText: `{"a":"${'x'.repeat(300_000)}"}` },
    /over 262144 bytes/,
    'bad-persona',
  ],
  [
    'a wrong size of a member',
    meta((value) => {
      member(value, 'diff_image.img').size = 4999;
      return value;
    }),
    /has 5000 bytes, not 4999/,
    'bad-persona',
  ],
  [
    'a negative size of a member',
    meta((value) => {
      member(value, 'diff_image.img').size = -1;
      return value;
    }),
    /size/,
    'bad-persona',
  ],
  [
    'a size that is not whole',
    meta((value) => {
      member(value, 'diff_image.img').size = 1.5;
      return value;
    }),
    /size/,
    'bad-persona',
  ],
  [
    'a wrong digest of a member',
    meta((value) => {
      member(value, 'runtime_config.json').sha256 = '0'.repeat(64);
      return value;
    }),
    /the member runtime_config.json: expected 0/,
    'digest-mismatch',
  ],
  [
    'required resources',
    meta((value) => ({ ...value, required_resources: { memory_bytes: 1 } })),
    /required_resources \(memory_bytes\).*not supported by this version/,
    'not-supported',
  ],
  [
    'applications',
    { applications: 'vim 9.0\nemacs 29 --nox\n' },
    /installing applications.*vim and 1 more.*not supported by this version/,
    'not-supported',
  ],
  [
    'a wrong application list',
    { applications: '--force x\n' },
    /wrong name in line 1/,
    'bad-persona',
  ],
  [
    'services',
    { runtime: '{"services":{"ssh":"enabled"}}' },
    /"services" in runtime_config.json is not supported by this version/,
    'not-supported',
  ],
  [
    'a runtime configuration that is none',
    { runtime: '"x"' },
    /runtime_config.json is wrong/,
    'bad-persona',
  ],
  [
    'a signature that is none',
    { members: (all) => [...all, { name: 'signature', data: '{"key_id":"x"}' }] },
    /signature/,
    'bad-signature',
  ],
  [
    'a signature by another algorithm',
    {
      members: (all) => [
        ...all,
        {
          name: 'signature',
          data: `{"key_id":"x","algorithm":"rsa","signature":"${'A'.repeat(86)}=="}`,
        },
      ],
    },
    /algorithm/,
    'bad-signature',
  ],
];

for (const [title, given, message, code] of refused) {
  test(`refused: ${title}`, async (t) => {
    const bytes = Buffer.isBuffer(given) ? given : builtOsp(given);
    const error = await t.throwsAsync(read(bytes), { instanceOf: PersonaError });
    t.regex(error.message, message);
    t.is(error.code, code as typeof error.code);
  });
}

test('empty sections and values that ask for nothing are no reason to refuse', async (t) => {
  const runtime = '{"services":{},"registry":[],"sysctl":null,"environment":{},"files":[]}';
  t.deepEqual((await read(builtOsp({ runtime }))).runtime, { environment: {}, files: [] });
});

test('damage anywhere ends in a persona or in an error of ours', async (t) => {
  const whole = await written(await prepareOsp(content(Buffer.alloc(3000, 'i'))));
  const change = fc.record({ at: fc.nat(whole.length - 1), to: fc.nat(255) });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const bytes = Buffer.from(whole);
      for (const { at, to } of changes) bytes[at] = to;
      await successOrPersonaError(() => read(bytes));
    }),
    { numRuns: 1500 },
  );
  t.pass();
});
