import { deriveFor, requirePassword } from '../accounts/new-password.ts'
import { createsAccount, judgeNewAccount } from '../mailboxes/create.ts'
import { lookUpGround } from '../mailboxes/ground.ts'
import { findMailbox } from '../mailboxes/store.ts'
import { ProblemError } from '../problems.ts'
import type { ImportContext, Making } from './make-many.ts'
import { withVerifiers } from './tasks.ts'
import { needsDerivation, type UnitRow } from './units.ts'

/**
 * Derives passwords before the transaction begins, one after another, so that an import leaves the other processors to
 * those who wait for an answer. What would be refused anyway costs no hash.
 */
export async function derivePasswords(context: ImportContext, unit: readonly UnitRow[]): Promise<UnitRow[]> {
  const derived: UnitRow[] = []
  for (const one of unit) {
    const task = needsDerivation(one.task) ? await derive(context, one.task as Making) : one.task
    derived.push({ ...one, task })
  }
  return derived
}

async function derive({ app, subject }: ImportContext, making: Making): Promise<Making | ProblemError> {
  const { request, again } = making
  const { address, body, password } = request
  const target = { key: address, visible: subject.domains }
  try {
    if (again && (await findMailbox(app.db, target))) return making // it keeps the password that it has
    if (!(await createsAccount(app.db, subject, request))) return making
    const wish = { address, pointer: '/address', createAccount: true, authentication: body.authentication }
    const lookUp = async () => judgeNewAccount(await lookUpGround(app.db, address), subject, request, wish)
    const { verifiers } = await deriveFor(app.derivations, requirePassword(password), lookUp)
    return { ...making, request: withVerifiers(request, verifiers) }
  } catch (error) {
    if (error instanceof ProblemError && error.code !== 'busy') return error
    throw error
  }
}
