/** What the operations that list something answer. */
export interface Page<Item> {
  items: Item[]
  next: string | null
}

/** Such as `listMailboxes`. Which kind of item it lists is in what it gives where it does not throw. */
type List = (options: never) => Promise<object>
type ItemOf<L extends List> =
  Awaited<ReturnType<L>> extends infer Answer
    ? Answer extends { data: Page<infer Item> }
      ? Item
      : never
    : never

type OptionsOf<L extends List> = Parameters<L>[0]

/**
 * All items of a list, page by page as they are needed:
 *
 *     for await (const mailbox of items(listMailboxes, { client, query: { domain: 'example.jp' } })) …
 */
export async function* items<L extends List>(
  list: L,
  options: OptionsOf<L>,
): AsyncGenerator<ItemOf<L>, void, undefined> {
  let { query } = options as { query?: object }
  for (;;) {
    const answer = await list((query === undefined ? options : { ...(options as object), query }) as never)
    const { data } = answer as { data: Page<ItemOf<L>> }
    yield* data.items
    if (data.next === null) return
    query = { ...query, cursor: data.next }
  }
}
