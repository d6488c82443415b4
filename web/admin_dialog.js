/**
 * A grave question in, whether it was done out; Escape and Cancel do nothing, Enter asks for a
 * choice: the focus is on Cancel.
 */

export class Dialog {
  constructor(on, problemWords) {
    Object.assign(this, { on, problemWords });
    on["asking-no"].addEventListener("click", () => on.asking.close());
    on["asking-form"].addEventListener("submit", (event) => {
      event.preventDefault();
      this.#do();
    });
  }

  /** `act` is awaited while the dialog stays; what it throws is told in it. */
  ask({ title, text, yes, act }) {
    const { on } = this;
    this.act = act;
    on["asking-title"].textContent = title;
    on["asking-text"].textContent = text;
    on["asking-yes"].textContent = yes;
    on["asking-yes"].disabled = false;
    on["asking-problem"].hidden = true;
    on.asking.showModal();
    on["asking-no"].focus();
  }

  async #do() {
    const { on } = this;
    on["asking-yes"].disabled = true;
    try {
      await this.act();
      on.asking.close();
    } catch (error) {
      on["asking-problem"].textContent = this.problemWords(error);
      on["asking-problem"].hidden = false;
      on["asking-yes"].disabled = false;
    }
  }
}
