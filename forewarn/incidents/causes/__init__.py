"""Where the cause is: findings about each entity, ranked along the service graph (`ranking.rank`)."""
