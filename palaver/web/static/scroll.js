// Where the reader is. Follows what comes only while they are at the end; whatever they do to look elsewhere ends that
// at once, and only going back to the end begins it again.

const NEAR = 6;
/** So near to the end is at the end, in CSS pixels. */
const UP = new Set(["ArrowUp", "PageUp", "Home"]);

export class Follower {
  /** `list` is what grows in `scroller`; `told` is called when `following` or `isMore` (something new is below) changes. */
  constructor(scroller, list, told) {
    this.scroller = scroller;
    this.list = list;
    this.told = told;
    this.following = true;
    this.isMore = false;
    this._height = 0;
    this._top = 0;
    this._touch = 0;
    scroller.addEventListener("wheel", (event) => event.deltaY < 0 && this.leave(), { passive: true });
    scroller.addEventListener("touchstart", (event) => { this._touch = event.touches[0].clientY; }, { passive: true });
    scroller.addEventListener("touchmove", (event) => event.touches[0].clientY > this._touch + 2 && this.leave(), { passive: true });
    scroller.addEventListener("keydown", (event) => UP.has(event.key) && !isField(event.target) && this.leave());
    scroller.addEventListener("scroll", () => this._scrolled(), { passive: true });
    new ResizeObserver(() => this._grown()).observe(list);
    new ResizeObserver(() => this.following && this.toEnd()).observe(scroller);
  }

  get isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - clientHeight - scrollTop <= NEAR;
  }

  /** Look elsewhere: what comes moves nothing any more. */
  leave() {
    if (this.scroller.scrollHeight <= this.scroller.clientHeight) return;
    this._set(false, this.isMore);
  }

  /** Go to the end, and follow. */
  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this._top = this.scroller.scrollTop;
    this._set(true, false);
  }

  /** What is shown now is another conversation, or another part of it. */
  reset(following) {
    this._height = this.list.scrollHeight;
    this._set(following, false);
  }

  /** Something came below that is not seen. */
  more() {
    if (!this.isAtEnd) this._set(this.following, true);
  }

  _scrolled() {
    const { scrollTop } = this.scroller;
    const isUp = scrollTop < this._top - 1;
    this._top = scrollTop;
    if (this.isAtEnd) this._set(this.following || !isUp, false);
    else if (isUp) this._set(false, this.isMore);
    else this.told(this);
  }

  _grown() {
    const height = this.list.scrollHeight;
    const grew = height > this._height;
    this._height = height;
    if (this.following) this.toEnd();
    else if (grew) this.told(this);
  }

  _set(following, isMore) {
    const changed = following !== this.following || isMore !== this.isMore;
    this.following = following;
    this.isMore = isMore;
    if (changed) this.told(this);
  }
}

function isField(target) {
  return target.matches?.("textarea, input, select");
}
