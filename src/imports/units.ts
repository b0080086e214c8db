import type { ProblemError } from '../problems.ts'
import { namesIn } from './names.ts'
import { isProblem } from './outcomes.ts'
import type { ReadRow } from './sent-rows.ts'
import type { Task } from './tasks.ts'

/** A row that is about to be done, or refused. */
export interface UnitRow {
  line: number
  row: ReadRow | undefined
  task: Task | ProblemError
}

/** Of rows whose passwords have to be derived; these take seconds. */
const maxPasswords = 16

/**
 * The first of the rows that can be done together as if they were done one after the other: no two of them about one
 * name, and none that makes room in a domain beside one that takes it. What reaches further, such as a rename, by itself.
 */
export function takeUnit(rows: readonly UnitRow[], most: number): UnitRow[] {
  const unit: UnitRow[] = []
  const names = new Set<string>()
  const kinds = new Set<string>()
  let passwords = 0
  for (const one of rows) {
    if (unit.length >= most || (unit.length > 0 && standsAlone(one.task))) break
    const own = one.row ? namesIn(one.row) : []
    kinds.add(kindOf(one.task))
    passwords += needsDerivation(one.task) ? 1 : 0
    const fits = !own.some((name) => names.has(name)) && !(kinds.has('make') && kinds.has('delete'))
    if (unit.length > 0 && (!fits || passwords > maxPasswords)) break
    unit.push(one)
    for (const name of own) names.add(name)
    if (standsAlone(one.task)) break
  }
  return unit
}

function kindOf(task: UnitRow['task']): string {
  return isProblem(task) ? 'refused' : task.kind
}

function standsAlone(task: UnitRow['task']): boolean {
  if (isProblem(task)) return false
  if (task.kind !== 'make') return task.kind === 'restore' || task.kind === 'rename'
  const { body, values } = task.request
  return body.create_account === false || values.forward_to !== undefined
}

export function needsDerivation(task: UnitRow['task']): boolean {
  if (isProblem(task) || task.kind !== 'make') return false
  const { password } = task.request
  return password !== undefined && password !== 'none' && password.verifiers === undefined
}
