import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Columns, csvHeader, csvLine } from '../../src/exports/csv.ts'
import { parseCsv } from '../support/csv.ts'

interface Item {
  text: string | null
  other: string
}

const columns: Columns<Item> = { 'a "text"': ({ text }) => text, other: ({ other }) => other }

test('whatever stands in a field, RFC 4180 reads the same', () => {
  const texts = fc.string({
    unit: fc.constantFrom('"', ',', '\r', '\n', ' ', 'a', 'é', '山', '😀', '=', '-'),
  })
  fc.assert(
    fc.property(fc.array(fc.record({ text: texts, other: texts })), (items) => {
      const file = csvHeader(columns) + items.map((item) => csvLine(columns, item)).join('')
      assert.deepEqual(
        parseCsv(file),
        items.map(({ text, other }) => ({ 'a "text"': text, other })),
      )
    }),
  )
})

test('null is empty, the empty text quoted', () => {
  assert.equal(csvLine(columns, { text: null, other: '' }), ',""\r\n')
})

test('other values are written as JSON has them, lists parted by spaces', () => {
  const all: Columns<null> = {
    date: () => new Date(0),
    number: () => 9_007_199_254_740_991,
    yes: () => true,
    list: () => ['a', 'b'],
    none: () => [],
  }
  assert.equal(csvLine(all, null), '1970-01-01T00:00:00.000Z,9007199254740991,true,a b,""\r\n')
})

test('what a spreadsheet takes for a formula stays what it is', () => {
  assert.equal(csvLine(columns, { text: '=1+1', other: '@x' }), '=1+1,@x\r\n')
})
