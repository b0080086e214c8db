import { readMoment } from '../moments.ts'
import { problemAt } from '../problems.ts'

/** As they are sent: RFC 3339, or null for no limit. */
export interface LoginPeriodMembers {
  login_from?: string | null
  login_until?: string | null
}

export interface LoginPeriod {
  login_from?: Date | null
  login_until?: Date | null
}

/** Only the members that were sent. One that is sent alone is judged by the table, with the other one that is there. */
export function parseLoginPeriod({ login_from, login_until }: LoginPeriodMembers, at: string): LoginPeriod {
  const period = {
    ...(login_from !== undefined && { login_from: parseLimit(login_from, `${at}/login_from`) }),
    ...(login_until !== undefined && { login_until: parseLimit(login_until, `${at}/login_until`) }),
  }
  if (period.login_from && period.login_until && period.login_from >= period.login_until)
    throw problemAt('invalid-login-period', `${at}/login_until`, 'login_until has to be after login_from.')
  return period
}

const firstYear = 1970
const lastYear = 9999 // RFC 3339 §1: four digits

function parseLimit(text: string | null, pointer: string): Date | null {
  if (text === null) return null
  const moment = readMoment(text)
  const year = moment?.getUTCFullYear()
  if (moment !== undefined && year !== undefined && year >= firstYear && year <= lastYear) return moment
  const detail = `This is no moment between the years ${firstYear} and ${lastYear}.`
  throw problemAt('invalid-login-period', pointer, detail)
}
