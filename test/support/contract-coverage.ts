import { appendFileSync, readFileSync } from 'node:fs'
import type { Operation } from './contract.ts'

/**
 * What a test run has to see: `operation status` for each answer that the document declares, with the code of the
 * problem where it is one. Each test file is a process of its own, so what was seen is collected in a file.
 */

/** What `npm test` runs. */
export const allTests = 'test/**/*.test.ts'

/** Names the file; not set where only some of the tests run. */
export const variable = 'CONTRACT_COVERAGE_FILE'

/** Declared, and yet not to be seen in any test, each for its reason. */
export const excused: Record<string, string> = {
  'getLiveness 4XX': 'nothing is refused; Redocly recommends that every operation declares a 4xx',
  'getReadiness 4XX': 'the same',
}

const recorded = new Set<string>()

export function recordAnswer(answer: string): void {
  const file = process.env[variable]
  if (file === undefined || recorded.has(answer)) return
  recorded.add(answer)
  appendFileSync(file, `${answer}\n`) // in one write, so that processes do not cut each other's lines
}

export function readSeen(file: string): Set<string> {
  return new Set(readFileSync(file, 'utf8').split('\n').filter(Boolean))
}

export function declaredAnswers(operations: Operation[]): string[] {
  return operations.flatMap(answersOf)
}

function answersOf({ operationId, responses }: Operation): string[] {
  return Object.entries(responses).flatMap(([status, { content }]) => {
    const codes = Object.keys(content?.['application/problem+json']?.examples ?? {})
    const answer = `${operationId} ${status}`
    return codes.length === 0 ? [answer] : codes.map((code) => `${answer} ${code}`)
  })
}

/** The declared answers that no test has seen, and the excuses that nobody needs. */
export function findGaps(declared: string[], seen: ReadonlySet<string>): string[] {
  const unseen = declared.filter((answer) => !seen.has(answer) && !Object.hasOwn(excused, answer))
  const idle = Object.keys(excused).filter((answer) => seen.has(answer) || !declared.includes(answer))
  return [
    ...unseen.map((answer) => `declared, but no test has seen it: ${answer}`),
    ...idle.map((answer) => `excused without need: ${answer}`),
  ]
}
