/**
 * The moment that an RFC 3339 text names; undefined where it names none. Date knows neither lower case nor a leap
 * second (§5.6, §5.7).
 */
export function readMoment(text: string): Date | undefined {
  const time = Date.parse(text.toUpperCase().replace(/:60(?=[.Z+-])/, ':59'))
  return Number.isNaN(time) ? undefined : new Date(time)
}
