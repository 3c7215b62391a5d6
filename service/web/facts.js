/** What a feed comes from, in a line of words. */

/** How many candidates from where, by which model, and what is missing. */
export function facts(answer) {
  const from = {
    followees: "from followees",
    discover: "the newest of the whole service",
    popular: "by popularity: the model knows neither this user nor a followee",
    recent: "the newest: nobody retweeted any yet",
  }[answer.source];
  const notes = [`${answer.candidates} candidates, ${from}`, `model ${answer.version}${answer.trial ? " (on trial)" : ""}`];
  if (answer.folded_in) notes.push("vector fitted to the user's own retweets");
  if (answer.degraded && answer.source !== answer.scope) notes.push("followees have nothing to offer");
  if (answer.missing.includes("online_network")) notes.push("degraded: Redis is being written anew or does not answer");
  if (answer.missing.includes("user_vector")) notes.push("the model does not know this user");
  if (answer.missing.includes("followee_vectors")) notes.push("the model does not know some followees");
  return notes.join(" \u00b7 ");
}
