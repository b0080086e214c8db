interface MediaRange {
  type: string
  subtype: string
  quality: number
}

// RFC 9110 §12.4.2: a weight from 0 to 1 with at most three digits
const weight = /^q=(0(\.\d{0,3})?|1(\.0{0,3})?)$/i

/**
 * The media type to answer with (RFC 9110 §12.5.1): the one that the header wants most, among equals the first of
 * `offered`; undefined where it takes none of them.
 */
export function preferredMediaType<T extends string>(
  accept: string | undefined,
  offered: readonly T[],
): T | undefined {
  if (accept === undefined || accept.trim() === '') return offered[0]
  const ranges = accept.split(',').flatMap(readRange)
  const qualities = offered.map((type) => qualityOf(type, ranges))
  const best = Math.max(...qualities)
  return best > 0 ? offered[qualities.indexOf(best)] : undefined
}

/** Parameters other than the weight are not looked at: all that is offered is UTF-8. */
function readRange(text: string): MediaRange[] {
  const [range = '', ...parameters] = text.split(';').map((part) => part.trim())
  const [type = '', subtype = '', ...more] = range.toLowerCase().split('/')
  if (type === '' || subtype === '' || more.length > 0) return []
  const given = parameters.find((parameter) => /^q=/i.test(parameter))
  if (given === undefined) return [{ type, subtype, quality: 1 }]
  return weight.test(given) ? [{ type, subtype, quality: Number(given.slice(2)) }] : []
}

/** The most specific range that covers the type says how much it is wanted. */
function qualityOf(mediaType: string, ranges: readonly MediaRange[]): number {
  const [type, subtype] = mediaType.split('/')
  const exact = ranges.find((range) => range.type === type && range.subtype === subtype)
  const ofType = ranges.find((range) => range.type === type && range.subtype === '*')
  const any = ranges.find((range) => range.type === '*' && range.subtype === '*')
  return (exact ?? ofType ?? any)?.quality ?? 0
}
