import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { maxNameCharacters, namePattern, readName } from '../src/accounts/name.ts'
import { domainNamePattern, maxDomainNameOctets, readDomainName } from '../src/domains/name.ts'
import { startService } from './support/service.ts'

// What the parsers let in and what the tables hold is one rule, written twice: here the two are held together.

const { admin } = await startService()

interface Rule {
  /** The CHECK. */
  function: 'is_name' | 'is_domain_name'
  /** The same in the program. */
  allows(text: string): boolean
  read(text: string): { name: string } | { fault: string }
  /** What the parser refuses besides, and why. */
  parserRefuses: RegExp
}

const name: Rule = {
  function: 'is_name',
  allows: (text) => new RegExp(namePattern).test(text) && text.length <= maxNameCharacters,
  read: readName,
  parserRefuses: /(?!)/,
}

const domainName: Rule = {
  function: 'is_domain_name',
  allows: (text) => new RegExp(domainNamePattern).test(text) && text.length <= maxDomainNameOctets,
  read: readDomainName,
  // hyphens in the third and fourth place belong to A-labels, which must decode (RFC 5891 §4.2.3.1, §5.4)
  parserRefuses: /(^|[.])..--/,
}

async function inSql(rule: Rule, texts: string[]): Promise<boolean[]> {
  const { rows } = await admin.query<{ allowed: boolean }>(
    `select app.${rule.function}(t.text) as allowed from unnest($1::text[]) with ordinality as t (text, i) order by i`,
    [texts],
  )
  return rows.map(({ allowed }) => allowed)
}

async function assertOneRule(rule: Rule, texts: string[]): Promise<{ allowed: number; refused: number }> {
  const sendable = texts.map((text) => text.replaceAll('\0', '').toWellFormed()) // PostgreSQL has no other text
  const answers = await inSql(rule, sendable)
  const parsed = sendable.map((text) => rule.read(text))
  for (const [i, text] of sendable.entries()) {
    assert.equal(answers[i], rule.allows(text), `${rule.function}(${JSON.stringify(text)})`)
    const refusedHere = 'fault' in parsed[i]! && !rule.parserRefuses.test(text)
    assert.ok(!(answers[i] && refusedHere), `the table holds ${JSON.stringify(text)}, the parser refuses it`)
  }
  const stored = parsed.flatMap((outcome) => ('name' in outcome ? [outcome.name] : []))
  const held = await inSql(rule, stored)
  assert.deepEqual(
    stored.filter((_, i) => !held[i]),
    [],
    'the parser lets in what the table cannot hold',
  )
  const allowed = answers.filter(Boolean).length
  return { allowed, refused: answers.length - allowed }
}

/** One round trip for many samples. */
async function assertSamples(
  rule: Rule,
  texts: fc.Arbitrary<string>,
  least: { allowed: number },
): Promise<void> {
  let allowed = 0
  const batches = fc.array(texts, { minLength: 200, maxLength: 400 })
  const property = fc.asyncProperty(batches, async (batch) => {
    allowed += (await assertOneRule(rule, batch)).allowed
  })
  await fc.assert(property, { numRuns: 10 })
  assert.ok(allowed >= least.allowed, `only ${allowed} samples were good ones`)
}

const label = 'a'.repeat(63)

const names = {
  good: ['a', 'user05', '0', '-', '_', 'a.b', 'a.b.c', '-a-', '__', 'a'.repeat(64), `${'a.'.repeat(31)}aa`],
  bad: [
    ...[
      '',
      '.',
      '.a',
      'a.',
      'a..b',
      '..',
      'A',
      'Aa',
      'a b',
      ' a',
      'a ',
      'a\n',
      '\na',
      'a\nb',
      'a\r',
      'a\t',
      'a\u00a0',
    ],
    ...[
      'a@b',
      'a+b',
      "a'b",
      'a"b',
      'a\\b',
      'a/b',
      'a%b',
      'a*',
      'a,b',
      'a;b',
      'a:b',
      'a|b',
      'a=b',
      'a~b',
      'a`b',
    ],
    ...[
      'é',
      'e\u0301',
      'ｕｓｅｒ',
      '名前',
      'ı',
      'ſ',
      'K',
      'İ',
      'ß',
      'а',
      '١',
      '²',
      'a\u200b',
      'a\u00ad',
      'a\u202e',
      '👤',
    ],
    ...['a'.repeat(65), `${'a.'.repeat(32)}a`, 'a'.repeat(10_000), '{}', '$', '^a$', 'null'.toUpperCase()],
  ],
}

const domainNames = {
  good: [
    ...[
      'a.bc',
      'example.jp',
      'a-b.example',
      '0.example',
      'xn--r8jz45g.jp',
      'a.xn--p1ai',
      'mail.example.co.jp',
      '1.2.3.a',
    ],
    ...[`${label}.${label}.${label}.${'a'.repeat(61)}`, `a.${label}`, `${label}.jp`, 'a--b.jp', 'abc--d.jp'],
  ],
  bad: [
    ...[
      '',
      '.',
      'jp',
      'localhost',
      '.jp',
      'jp.',
      'example.jp.',
      'a..jp',
      '-a.jp',
      'a-.jp',
      'a_b.jp',
      '_dmarc.jp',
      'a b.jp',
    ],
    ...[
      'Example.jp',
      'example.JP',
      'example.j-p',
      'a.1',
      '1.2.3.4',
      '127.0.0.1',
      '0x7f.1',
      '[::1]',
      '::1',
      'a.b2',
      'a.2b',
    ],
    ...[
      '例え.jp',
      'example.jp\n',
      '\nexample.jp',
      'exa\nmple.jp',
      'a.\u0440\u0444',
      'ex\u00adample.jp',
      'exa%6Dple.jp',
      'a.xn--',
    ],
    ...['a.xn--a-', 'a@b.jp', 'a/b.jp', '*.jp', `${label}a.jp`, `a.${label}a`, `a.xn--${'a'.repeat(60)}`],
    ...[
      `${label}.${label}.${label}.${'a'.repeat(62)}`,
      `${'a.'.repeat(126)}ab`,
      'ſ.jp',
      'K.jp',
      'a。jp',
      'a．jp',
    ],
  ],
}

for (const [rule, table] of [
  [name, names],
  [domainName, domainNames],
] as const) {
  test(`${rule.function} holds what is good and nothing else`, async () => {
    assert.deepEqual(await assertOneRule(rule, table.good), { allowed: table.good.length, refused: 0 })
    assert.deepEqual(await assertOneRule(rule, table.bad), { allowed: 0, refused: table.bad.length })
  })
}

/** Texts of the alphabet of names, and of what is next to it. */
const nearName = fc.string({ unit: fc.constantFrom(...'abz09-_..A @+é\n'), minLength: 0, maxLength: 9 })
const goodName = fc.string({ unit: fc.constantFrom(...'abcxyz0189-_'), minLength: 1, maxLength: 70 })
const dotted = fc.array(fc.string({ unit: fc.constantFrom(...'az09-_'), maxLength: 30 }), { maxLength: 5 })

test('the parser of names and is_name agree on samples', () =>
  assertSamples(
    name,
    fc.oneof(
      nearName,
      goodName,
      dotted.map((parts) => parts.join('.')),
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.string({ unit: 'binary', maxLength: 12 }),
    ),
    { allowed: 300 },
  ))

const nearLabel = fc.string({ unit: fc.constantFrom(...'abz09-'), minLength: 0, maxLength: 66 })
const aLabel = fc.string({ unit: fc.constantFrom(...'abz09-'), maxLength: 12 }).map((rest) => `xn--${rest}`)
const anyLabel = fc.oneof(
  { weight: 6, arbitrary: nearLabel },
  { weight: 1, arbitrary: aLabel },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom(...'aA_ é%[:。\n'), maxLength: 4 }) },
)
const topLabel = fc.oneof(fc.constantFrom('jp', 'com', 'example', 'xn--p1ai'), anyLabel)

test('the parser of domain names and is_domain_name agree on samples', () =>
  assertSamples(
    domainName,
    fc.oneof(
      fc
        .tuple(fc.array(anyLabel, { maxLength: 6 }), topLabel)
        .map(([labels, top]) => [...labels, top].join('.')),
      fc.domain().map((text) => text.toLowerCase()),
      fc.ipV4(),
      fc.ipV6(),
      fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => `${text}.jp`),
      fc.string({ unit: 'binary', maxLength: 12 }),
    ),
    { allowed: 300 },
  ))

test('the columns are checked by these functions', async () => {
  const { rows } = await admin.query<{ name: string; text: string }>(
    `select conname as name, pg_get_constraintdef(oid) as text from pg_constraint
     where conname in ('accounts_name_check', 'domains_name_check') order by conname`,
  )
  assert.deepEqual(
    rows.map(({ text }) => text),
    ['CHECK (app.is_name(name))', 'CHECK (app.is_domain_name(name))'],
  )
  await assert.rejects(admin.query(`insert into app.domains (name) values ('Example.jp')`), {
    constraint: 'domains_name_check',
  })
  await assert.rejects(
    admin.query(`insert into app.accounts (name, authentication) values ('a.', 'local')`),
    {
      constraint: 'accounts_name_check',
    },
  )
})
