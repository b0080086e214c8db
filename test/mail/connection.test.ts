import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toConnection, toKeywords, toParameters, toUri } from '../../src/mail/connection.ts'

const forms: [url: string, keywords: string, uri: string][] = [
  [
    'postgresql://mail_read:secret@db.example.jp:5433/mail?sslmode=verify-full',
    'host=db.example.jp port=5433 dbname=mail user=mail_read password=secret sslmode=verify-full',
    'postgresql:///?host=db.example.jp&port=5433&dbname=mail&user=mail_read&password=secret&sslmode=verify-full',
  ],
  [
    'postgresql://mail_read:a%2Fb@localhost:5432/mailwright?host=%2Frun%2Fpg&sslmode=disable',
    'host=/run/pg port=5432 dbname=mailwright user=mail_read password=a/b sslmode=disable',
    'postgresql:///?host=%2Frun%2Fpg&port=5432&dbname=mailwright&user=mail_read&password=a%2Fb&sslmode=disable',
  ],
  [
    'postgres://mail_read@[::1]/mail',
    'host=::1 port=5432 dbname=mail user=mail_read',
    'postgresql:///?host=%3A%3A1&port=5432&dbname=mail&user=mail_read',
  ],
  [
    'postgres://mail_read@/mail?host=/run/pg',
    'host=/run/pg port=5432 dbname=mail user=mail_read',
    'postgresql:///?host=%2Frun%2Fpg&port=5432&dbname=mail&user=mail_read',
  ],
]

for (const [url, keywords, uri] of forms) {
  test(`tells Dovecot and Postfix of ${url}`, () => {
    assert.equal(toKeywords(toConnection(url)), keywords)
    assert.equal(toUri(toConnection(url)), uri)
  })
}

test('refuses what Dovecot would take for another parameter', () => {
  for (const password of ['a%20host=evil', "a'b", 'a%0Ab']) {
    assert.throws(() => toConnection(`postgres://mail_read:${password}@db/mail`), { message: /password/ })
  }
})

test('tells Dovecot 2.4 a line for each, in which nothing is a comment, a variable or a block', () => {
  assert.deepEqual(
    toParameters(toConnection('postgres://mail_read:%23%24ENV%3AX%25%7Bx%7D@/mail?host=/run/pg')),
    [
      'host = "/run/pg"',
      'port = "5432"',
      'dbname = "mail"',
      'user = "mail_read"',
      'password = "#$ENV:X%%{x}"',
    ],
  )
})
