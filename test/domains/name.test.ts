import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  type DomainName,
  domainNamePattern,
  lookUpDomainName,
  parseDomainName,
  unicodeName,
} from '../../src/domains/name.ts'
import { ProblemError } from '../../src/problems.ts'
import { registrableName } from '../support/domain-names.ts'

const label63 = 'a'.repeat(63)
const name253 = `${`${label63}.`.repeat(3)}${'b'.repeat(57)}.com`

describe('a domain name is accepted', () => {
  const accepted: [string, string][] = [
    ['example.jp', 'example.jp'],
    ['EXAMPLE.JP', 'example.jp'],
    ['example.jp.', 'example.jp'],
    ['example.jp。', 'example.jp'],
    ['mail.example.co.jp', 'mail.example.co.jp'],
    ['a.b', 'a.b'],
    ['1.2.3.jp', '1.2.3.jp'],
    ['a-b.c--d.jp', 'a-b.c--d.jp'],
    ['日本語.jp', 'xn--wgv71a119e.jp'],
    ['日本語。jp', 'xn--wgv71a119e.jp'],
    ['日本語．jp｡', 'xn--wgv71a119e.jp'],
    ['ＥＸＡＭＰＬＥ．ｊｐ', 'example.jp'],
    ['xn--wgv71a119e.jp', 'xn--wgv71a119e.jp'],
    ['XN--WGV71A119E.JP', 'xn--wgv71a119e.jp'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['bu\u0308cher.example', 'xn--bcher-kva.example'],
    ['faß.de', 'xn--fa-hia.de'],
    ['テスト.テスト', 'xn--zckzah.xn--zckzah'],
    ['אבג.com', 'xn--4dbcd.com'],
    [`${label63}.jp`, `${label63}.jp`],
    [name253, name253],
    [`${name253}.`, name253],
  ]

  for (const [text, name] of accepted) {
    test(`${text} as ${name}`, () => {
      assert.equal(parseDomainName(text), name)
      assert.equal(lookUpDomainName(text), name)
    })
  }
})

describe('a domain name is refused with the rule it breaks', () => {
  const refused: [string, RegExp][] = [
    ['', /is needed/],
    ['.', /begin with a period/],
    ['..', /begin with a period/],
    ['.example.jp', /begin with a period/],
    ['example.jp..', /one period, not with more/],
    ['example.jp.。', /one period, not with more/],
    ['a..jp', /two periods in a row/],
    ['a.。jp', /two periods in a row/],
    ['jp', /at least two labels/],
    ['jp.', /at least two labels/],
    ['localhost', /at least two labels/],
    [`${'a'.repeat(64)}.jp`, /Label 1 has 64 octets/],
    [`www.${'ü'.repeat(63)}.jp`, /Label 2 has \d+ octets as an A-label/],
    [`b${name253}`.replace(`b${label63}`, `b${label63.slice(1)}.x`), /as A-labels this one has 255/],
    ['a'.repeat(1_000_000), /at most 253 octets/],
    ['-a.jp', /Label 1 begins with a hyphen/],
    ['www.a-.jp', /Label 2 ends with a hyphen/],
    ['a_b.jp', /Label 1 contains "_"/],
    ['a+b.jp', /Label 1 contains "\+"/],
    ['user@example.jp', /Label 1 contains "@"/],
    ['a/b.jp', /Label 1 contains "\/"/],
    ['*.example.jp', /Label 1 contains "\*"/],
    ['ab--c.jp', /third and fourth place/],
    ['exa%6Dple.jp', /cannot contain "%"/],
    ['[::1]', /cannot contain "\["/],
    ['example.jp:25', /cannot contain ":"/],
    ['exam ple.jp', /cannot contain a space/],
    [' example.jp', /cannot contain a space/],
    ['example.jp\n', /cannot contain U\+000A/],
    ['exa\0mple.jp', /cannot contain U\+0000/],
    ['exa\u007Fmple.jp', /cannot contain U\+007F/],
    ['exa\u00ADmple.jp', /cannot contain U\+00AD/],
    ['exa\u200Bmple.jp', /cannot contain U\+200B/],
    ['exa\u200Dmple.jp', /cannot contain U\+200D/],
    ['\uFEFFexample.jp', /cannot contain U\+FEFF/],
    ['exa\u202Emple.jp', /cannot contain U\+202E/],
    ['exa\u2066mple.jp', /cannot contain U\+2066/],
    ['exa\u034Fmple.jp', /cannot contain U\+034F/],
    ['exa\uFE0Fmple.jp', /cannot contain U\+FE0F/],
    ['exa\u3000mple.jp', /cannot contain U\+3000/],
    ['exa\uD800mple.jp', /cannot contain U\+D800/],
    ['1.2.3.4', /IP address/],
    ['0x7f.1', /IP address/],
    ['１.２.３.４', /IP address/],
    ['example.c0m', /last label/],
    ['exa％6Dple.jp', /not a valid internationalised label/],
    ['⒈com.jp', /not a valid internationalised label/],
    ['\u0301a.jp', /not a valid internationalised label/],
    ['xn--a.jp', /Label 1 is not a valid A-label/],
    ['www.xn--.jp', /Label 2 /],
    ['xn--a-.jp', /Label 1 ends with a hyphen/],
    ['xn--bcher-kva0.jp', /Label 1 is not a valid A-label/],
    ['xn--ab-m1t.jp', /Label 1 is not a valid A-label/], // a joiner between Latin letters, RFC 5892 A.2
    ['xn--x-jfa.jp', /Label 1 is not a valid A-label/], // a capital letter
    ['xn--日本.jp', /Label 1 is not a valid A-label/],
    ['xn--exmple-oqa\u00AD.jp', /cannot contain U\+00AD/],
    ['1a.אבג.com', /RFC 5893/],
  ]

  for (const [text, detail] of refused) {
    const shown = JSON.stringify(text.slice(0, 80))
    test(shown, () => {
      assert.throws(
        () => parseDomainName(text, '/domain'),
        (error) => {
          assert.ok(error instanceof ProblemError)
          assert.equal(error.code, 'invalid-domain-name')
          assert.match(error.detail ?? '', detail)
          assert.deepEqual(error.errors, [{ pointer: '/domain', detail: error.detail }])
          return true
        },
      )
    })

    test(`${shown} in a path names no domain`, () => {
      assert.throws(() => lookUpDomainName(text), { code: 'domain-not-found', errors: undefined })
    })
  }

  test('and reported at /name unless told otherwise', () => {
    assert.throws(
      () => parseDomainName('jp'),
      (error) => {
        assert.ok(error instanceof ProblemError)
        return error.errors?.[0]?.pointer === '/name'
      },
    )
  })
})

describe('the name shown to people', () => {
  const shown: [string, string][] = [
    ['an ASCII name itself', 'example.jp'],
    ['Han', '日本語.jp'],
    ['Han, Hiragana and Katakana', '山のデータ.jp'],
    ['Japanese beside Latin and digits', '日本のtest1-2.jp'],
    ['Hangul', '한국.kr'],
    ['Hangul and Han', '한국漢字.kr'],
    ['accented Latin', 'bücher.example'],
    ['Cyrillic', 'пример.рф'],
    ['Greek', 'παράδειγμα.gr'],
    ['Hebrew', 'אבג.com'],
    ['Arabic', 'مثال.com'],
    ['Devanagari', 'उदाहरण.भारत'],
    ['Thai', 'ไทย.com'],
    ['one script a label, another in the next', 'пример.bücher.jp'],
  ]

  for (const [what, name] of shown) {
    test(`is the U-labels for ${what}`, () => {
      assert.equal(unicodeName(parseDomainName(name)), name)
    })
  }

  const hidden: [string, string][] = [
    ['Cyrillic in Latin', 'p\u0430ypal.com'],
    ['Greek in Latin', 'g\u03BFogle.com'],
    ['Cyrillic in Greek', 'α\u0430.gr'],
    ['Hangul beside Latin', '한국a.kr'],
    ['Hangul beside Kana', '한국の.kr'],
    ['Japanese beside Cyrillic', '日本\u0430.jp'],
    ['Bopomofo beside Han', 'ㄅ漢.tw'],
    ['a symbol like a slash', 'example.com\u29F8evil.jp'],
    ['an emoji', '☃.jp'],
    ['a middle dot', 'a\u00B7b.jp'],
    ['Cherokee, which looks like Latin', 'ꭰꭱ.com'],
    ['one mixed label among good ones', 'www.p\u0430ypal.com'],
  ]

  for (const [what, name] of hidden) {
    test(`is null for ${what}`, () => {
      const parsed = parseDomainName(name)
      assert.match(parsed, /xn--/)
      assert.equal(unicodeName(parsed), null)
    })
  }

  test('is null for an A-label with a joiner, which nobody sees', () => {
    assert.equal(unicodeName(parseDomainName('xn--10cl1a0b660p.com')), null)
  })

  test('is null for an A-label of a capital letter, which no parser lets through', () => {
    assert.equal(unicodeName('xn--x-jfa.jp' as DomainName), null)
  })
})

const grammar = new RegExp(domainNamePattern)

describe('the grammar alone, as the database has it', () => {
  const outside = [
    'jp',
    'a.jp.',
    '.a.jp',
    'a..jp',
    'A.jp',
    '-a.jp',
    'a-.jp',
    'a.1',
    'a.x-',
    'a_b.jp',
    'a.jp\n',
  ]
  const longLabels = [`${'a'.repeat(64)}.jp`, `a.${'b'.repeat(64)}`, `a.xn--${'b'.repeat(60)}`]

  for (const name of [...outside, ...longLabels]) {
    test(`refuses ${JSON.stringify(name)}`, () => assert.doesNotMatch(name, grammar))
  }

  for (const name of [
    'a.b',
    'a.xn--p1ai',
    `${label63}.${'b'.repeat(63)}`,
    `a.xn--${'b'.repeat(59)}`,
    name253,
  ]) {
    test(`accepts ${name}`, () => assert.match(name, grammar))
  }
})

const scripts = [...'abzAZ019-ßéüабвαβγ日本語のテスト한국אבمث\u0301\u200Dｅ％']
const label = fc.string({ unit: fc.constantFrom(...scripts), minLength: 1, maxLength: 8 })
const fullStop = fc.constantFrom('.', '。', '．', '｡')
const mixedName = fc
  .tuple(fc.array(label, { minLength: 1, maxLength: 3 }), fullStop, fc.constantFrom('jp', 'COM', '日本'))
  .map(([labels, dot, last]) => [...labels, last].join(dot))
const aLabelName = fc.stringMatching(/^xn--[a-z0-9]{1,12}\.jp$/)
const anyName = fc.oneof(fc.domain(), mixedName, aLabelName)

function utf16() {
  return fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units))
}

describe('for any text', () => {
  const anyText = fc.oneof(anyName, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), utf16())

  test('the outcome is the problem or a name of the grammar that parses to itself', () => {
    let parsed = 0
    const property = fc.property(anyText, (text) => {
      try {
        const name = parseDomainName(text)
        parsed += 1
        assert.match(name, grammar)
        assert.ok(name.length <= 253)
        assert.equal(parseDomainName(name), name)
        assert.equal(parseDomainName(`${name}.`), name)
        assert.equal(parseDomainName(name.toUpperCase()), name)
      } catch (error) {
        assert.ok(error instanceof ProblemError, String(error))
        assert.equal(error.code, 'invalid-domain-name')
        assert.match(error.detail ?? '', /^[ -~\u00A7]+$/)
      }
    })
    fc.assert(property, { numRuns: 3000 })
    assert.ok(parsed > 300, `only ${parsed} texts were accepted`)
  })

  test('the name shown to people, where there is one, parses to the same name', () => {
    let seen = 0
    const property = fc.property(anyName, (text) => {
      const name = nameOrUndefined(text)
      const unicode = name && unicodeName(name)
      if (!unicode) return
      seen += unicode === name ? 0 : 1
      assert.equal(parseDomainName(unicode), name)
    })
    fc.assert(property, { numRuns: 3000 })
    assert.ok(seen > 20, `only ${seen} internationalised names were seen`)
  })

  test('every ASCII domain is accepted in any case and shown as it is', () => {
    const property = fc.property(registrableName, (text) => {
      const name = parseDomainName(text)
      assert.equal(name, text.toLowerCase())
      assert.equal(unicodeName(name), name)
      assert.throws(() => parseDomainName(`${text}..`), { code: 'invalid-domain-name' })
    })
    fc.assert(property)
  })
})

function nameOrUndefined(text: string): DomainName | undefined {
  try {
    return parseDomainName(text)
  } catch {
    return undefined
  }
}
