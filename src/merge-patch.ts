/** Whether an edit changes nothing, so that it must leave version and times alone. */
export function sameMembers(before: object, changes: object): boolean {
  return Object.entries(changes).every(
    ([member, value]) =>
      value === undefined || JSON.stringify(before[member as keyof object]) === JSON.stringify(value),
  )
}
