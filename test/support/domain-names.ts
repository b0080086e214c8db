import fc from 'fast-check'

/** RFC 1034 allows hyphens in the third and fourth place, RFC 5891 §4.2.3.1 only where they begin an A-label. */
export const registrableName = fc.domain().filter((text) => !/(^|\.)..--/.test(text))
