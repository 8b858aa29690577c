/** A consumer group as its broker sees it: who is a member, who has which partition, and the generation that says so. */

/** One member; the broker tells it that the group has changed, and hears from it when it next asks. */
export interface GroupMember {
  readonly name: string;
  /** The partitions are shared anew: give up what you hold, and ask what you have now. */
  readonly onRebalance: () => void;
}

export class MemoryGroup {
  #generation = 0;
  #members: readonly GroupMember[] = [];

  /** Grows whenever somebody joins, leaves or is given up; a commit in the name of an older one is refused. */
  get generation(): number {
    return this.#generation;
  }

  has(member: GroupMember): boolean {
    return this.#members.includes(member);
  }

  join(member: GroupMember): void {
    this.#change([...this.#members.filter((other) => other !== member), member], member);
  }

  leave(member: GroupMember): void {
    if (this.has(member))
      this.#change(
        this.#members.filter((other) => other !== member),
        member,
      );
  }

  /** Gives up a member that has not been heard of for its session timeout; it is told, should it ever ask again. */
  giveUp(name: string): void {
    const member = this.#members.find((other) => other.name === name);
    if (member === undefined) return;
    this.leave(member);
    member.onRebalance();
  }

  /** Which of these places a member has: they are dealt out in turn. */
  shareOf(member: GroupMember, places: readonly string[]): string[] {
    const at = this.#members.indexOf(member);
    return at === -1 ? [] : places.filter((_, index) => index % this.#members.length === at);
  }

  #change(members: readonly GroupMember[], by: GroupMember): void {
    this.#members = members;
    this.#generation += 1;
    for (const member of members) if (member !== by) member.onRebalance();
  }
}
