import assert from 'node:assert/strict'
import { test } from 'node:test'
import { preferredType } from '../../src/exports/media-types.ts'

const json = 'application/json'
const lines = 'application/x-ndjson'
const table = 'text/csv'

const cases: [string | undefined, string | undefined][] = [
  [undefined, json],
  ['', json],
  ['*/*', json],
  [json, json],
  [lines, lines],
  ['TEXT/CSV', table],
  ['text/csv; charset=utf-8', table],
  ['text/*', table],
  ['application/*', json],
  ['text/html, */*;q=0.8', json],
  ['text/csv;q=0.5, application/x-ndjson', lines],
  ['text/csv ; q=0.5 , application/x-ndjson;q=0.4', table],
  ['*/*, application/json;q=0', lines],
  ['application/*;q=0, */*', table],
  ['text/csv, application/json', json],
  ['text/html', undefined],
  ['text/csv;q=0', undefined],
  ['text/csv;q=2', undefined],
  ['nonsense', undefined],
  ['application/problem+json', undefined],
]
for (const [accept, expected] of cases) {
  test(`${accept} gets ${expected}`, () => {
    assert.equal(preferredType(accept), expected)
  })
}
